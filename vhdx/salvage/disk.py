"""A damaged disk, read through its layers."""

import posixpath
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple, Self

from vhdx.chain.parents import (
    DEFAULT_POLICY,
    ParentPolicy,
    explained_candidates,
    may_not_be_read,
    refusal,
    unusable,
    why_not,
)
from vhdx.errors import Error, FormatError, InUse, ParentMismatch, ParentNotFound, UnsupportedFeature
from vhdx.extents import Presence
from vhdx.image.base import DiskType, ImageFormat, ImageInfo, LogState, NewId
from vhdx.image.naming import naming
from vhdx.image.open import open_image, recognise
from vhdx.salvage.flat import FlatLayer
from vhdx.salvage.layer import Piece, SalvageLayer
from vhdx.salvage.medium import Medium, is_medium_error
from vhdx.salvage.report import Noting, SalvageNote
from vhdx.salvage.vhd_layer import open_vhd_layer
from vhdx.salvage.vhdx_layer import open_vhdx_layer
from vhdx.storage.base import Access, FileSystem, Storage

_SECTOR = 512
_IN_PARENT = "the data is in the missing parent"
_NO_RECORD = "the parent record is lost"


class Part(NamedTuple):
    """A piece of the disk and its layer; 0 is the image itself."""

    layer: int
    piece: Piece


@dataclass(frozen=True, slots=True)
class SalvageDisk:
    """A disk and its layers, leaf first. *complete* is False if the parent of the last layer is missing."""

    paths: Sequence[str]
    layers: Sequence[SalvageLayer]
    complete: bool

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return self.layers[0].info.virtual_size

    @property
    def storages(self) -> Sequence[Storage]:
        """The open files of the layers."""
        return [layer.medium.storage for layer in self.layers]

    @property
    def base(self) -> ImageInfo:
        """The lowest layer."""
        return self.layers[-1].info

    def parts(self) -> Iterator[Part]:
        """The whole disk, ascending and contiguous; NOT_PRESENT reads as zeros."""
        return self._look(0, 0, self.size)

    def _look(self, layer: int, offset: int, length: int) -> Iterator[Part]:
        for piece in self.layers[layer].pieces(offset, length):
            if piece.lost and layer:
                where = posixpath.basename(self.paths[layer])
                yield Part(layer, piece._replace(lost=f"in the parent {where}: {piece.lost}"))
            elif piece.lost or piece.presence is not Presence.NOT_PRESENT:
                yield Part(layer, piece)
            elif layer + 1 == len(self.layers):
                yield Part(layer, piece if self.complete else piece._replace(lost=_IN_PARENT))
            else:
                size = self.layers[layer + 1].info.virtual_size
                inside = min(max(size - piece.offset, 0), piece.length)
                if inside:
                    yield from self._look(layer + 1, piece.offset, inside)
                if inside < piece.length:
                    yield Part(layer, Piece(piece.offset + inside, piece.length - inside, Presence.ZERO))

    def close(self) -> None:
        """Close every file."""
        with ExitStack() as stack:
            for layer in reversed(self.layers):
                stack.callback(layer.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_salvage(
    files: FileSystem,
    path: str,
    notes: list[SalvageNote],
    *,
    new_id: NewId,
    policy: ParentPolicy = DEFAULT_POLICY,
    format: ImageFormat | None = None,
    sector_size: int | None = None,
    without_parent: bool = False,
) -> SalvageDisk:
    """Open the disk of *path* with its parents, each as far as it can be read; problems are appended to *notes*.

    *format* overrides detection for *path*; *sector_size* applies to a raw disk. *without_parent*: continue if a parent
    is missing, does not match or is unusable. Raises FormatError when the disk cannot be described, ParentNotFound,
    ParentMismatch, UnsupportedFeature, InUse.
    """
    path = files.resolve(path)
    home = posixpath.dirname(path)
    with ExitStack() as stack:
        paths: list[str] = []
        layers: list[SalvageLayer] = []
        seen: set[Hashable] = set()
        complete = True

        def admit(where: str, layer: SalvageLayer) -> None:
            stack.callback(layer.close)
            _compare_with_strict(files, where, layer.info.format, notes, new_id)
            identity = files.stat(where).identity
            if identity in seen:
                raise FormatError("chain", None, "the chain is circular", file=files.describe(path))
            if len(layers) == policy.most_layers:
                raise FormatError("chain", None, f"more than {policy.most_layers} layers", file=files.describe(path))
            seen.add(identity)
            paths.append(where)
            layers.append(layer)

        told = format is not None
        admit(path, _open(files, path, notes, beneath=home, format=format, told=told, sector_size=sector_size))
        while layers[-1].needs_parent:
            try:
                admit(*_parent(files, paths[-1], layers[-1].info, notes, policy))
            except (ParentNotFound, ParentMismatch) as error:
                if not without_parent:
                    raise
                message = f"the parent is missing, and its data is lost ({error})"
                notes.append(SalvageNote(files.describe(paths[-1]), "chain", None, message, on_trust=True))
                complete = False
                break
        for where, layer in zip(paths, layers, strict=True):
            with naming(files.describe(where)):
                layer.survey()
        stack.pop_all()
        return SalvageDisk(paths, layers, complete)


def _open(
    files: FileSystem,
    path: str,
    notes: list[SalvageNote],
    *,
    beneath: str,
    format: ImageFormat | None,
    told: bool,
    sector_size: int | None = None,
) -> SalvageLayer:
    storage = files.open(path, Access.READ, beneath=beneath)
    name = files.describe(path)
    noting = Noting(name, notes)
    try:
        with naming(name):
            match format or recognise(storage):
                case ImageFormat.VHDX:
                    return open_vhdx_layer(storage, noting)
                case ImageFormat.VHD:
                    return open_vhd_layer(storage, noting, told=told)
                case ImageFormat.RAW:
                    return _raw(storage, sector_size or _SECTOR)
    except BaseException:
        storage.close()
        raise


def _compare_with_strict(
    files: FileSystem, path: str, format: ImageFormat, notes: list[SalvageNote], new_id: NewId
) -> None:
    """Open the image strictly too, and note an error of that.

    Raises UnsupportedFeature if the file requires an unknown feature.
    """
    name = files.describe(path)
    if any(note.on_trust and note.file == name for note in notes):
        return
    try:
        storage = files.open(path, Access.INSPECT, beneath=posixpath.dirname(path))
        open_image(storage, new_id=new_id, format=format).close()
    except UnsupportedFeature:
        raise
    except Error as error:
        notes.append(SalvageNote(name, "file", None, f"strict reading fails ({error})", on_trust=True))
    except OSError as error:
        # Unreadable structures were replaced by another copy, or noted before.
        if not is_medium_error(error):
            raise


def _raw(storage: Storage, sector: int) -> FlatLayer:
    size = -(-storage.size() // sector) * sector
    info = ImageInfo(
        format=ImageFormat.RAW,
        type=DiskType.FIXED,
        virtual_size=size,
        block_size=None,
        logical_sector_size=sector,
        physical_sector_size=sector,
        disk_id=None,
        linkage=None,
        creator="",
        log=LogState.CLEAN,
        log_entries=0,
        parent=None,
    )
    return FlatLayer(info, Medium(storage, end=size))


def _parent(
    files: FileSystem, child: str, info: ImageInfo, notes: list[SalvageNote], policy: ParentPolicy
) -> tuple[str, SalvageLayer]:
    """The recorded parent of *child*. Raises ParentNotFound, ParentMismatch, InUse."""
    if info.parent is None:
        raise ParentNotFound(files.describe(child), [_NO_RECORD])
    tried: list[str] = []
    mismatches: list[str] = []
    denied: list[str] = []
    for candidate in explained_candidates(files, child, info.parent, policy):
        path = candidate.path
        name = files.describe(path)
        own: list[SalvageNote] = []
        try:
            layer = _open(files, path, own, beneath=candidate.base, format=info.format, told=False)
        except PermissionError:
            denied.append(path)
            continue
        except InUse:
            raise
        except (Error, OSError) as error:
            tried.append(why_not(error, name))
            continue
        reason = refusal(info, layer.info)
        if not reason:
            notes += own
            return path, layer
        layer.close()
        if layer.info.linkage is None:
            tried.append(f"{name}: its id is lost, so it cannot be verified as the parent")
            continue
        mismatches.append(f"{name} {reason}")
    if denied:
        raise may_not_be_read(files, child, denied[0])
    if mismatches:
        raise ParentMismatch(f"{files.describe(child)}: {'; '.join(mismatches + tried)}")
    raise ParentNotFound(files.describe(child), [*tried, *unusable(files, child, info.parent, policy)])
