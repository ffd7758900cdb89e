"""The steps of operations on volumes, each safe to repeat after an interruption at any point.

A step is a value, so that steps can be stored on the share as an intent (`smbfs_driver.volumes.journal`); `run`
executes it. File names are those of `smbfs_driver.volumes.names`, in the root directory of the share.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smbfs_driver.volumes import info as info_file
from smbfs_driver.volumes.desk import Desk
from smbfs_driver.volumes.engine import VolumeEngine
from smbfs_driver.volumes.info import Info
from smbfs_driver.volumes.names import DiskFormat, FileKind, VolumeNames, parse
from smbfs_driver.volumes.shape import Shape
from vhdx.chain.chain import Claim
from vhdx.errors import Error
from vhdx.image.base import NewId
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.contract import OpenDisk
from vhdx.verbs.shrink import Shrink


@dataclass(frozen=True, slots=True)
class Site:
    """A share and the engine for it. *ids* generates the tokens of temporary names.

    *desk* holds the open layers and cached documents of one operation; without it, steps read everything again.
    """

    files: FileSystem
    engine: VolumeEngine
    ids: NewId
    desk: Desk | None = None

    @contextlib.contextmanager
    def working(self) -> Iterator["Site"]:
        """The same with a desk, for one operation; keeps the root directory of the share open."""
        desk = Desk()
        with self.files.staying("") as files:
            try:
                yield Site(files, self.engine, self.ids, desk)
            finally:
                desk.clear()

    def clear(self) -> None:
        """Clear the desk."""
        if self.desk is not None:
            self.desk.clear()

    @property
    def disk(self) -> OpenDisk | None:
        """The volume's open layers, if any."""
        return None if self.desk is None else self.desk.disk

    def token(self) -> str:
        """A new token for `vhdx.storage.building.temporary_name`."""
        return self.ids().hex[:8]

    def document(self, names: VolumeNames) -> Info | None:
        """The volume's .info document; see `smbfs_driver.volumes.info.read`."""
        if self.desk is None:
            return info_file.read(self.files, names)
        access = Access.READ if self.desk.holds else Access.INSPECT
        return self.desk.document(names, lambda: info_file.read(self.files, names, access))

    def put_document(self, names: VolumeNames, document: Info) -> None:
        """Replace the volume's .info document; see `smbfs_driver.volumes.info.write`."""
        is_new = self.document(names) is None
        if self.desk is not None:
            self.desk.forget(names)
        info_file.write(self.files, names, document, self.token(), is_new=is_new)
        if self.desk is not None:
            self.desk.know(names, document)

    def open(self, names: VolumeNames, active: str, claim: Claim | None = None) -> list[str]:
        """Open the chain of *active* and keep it on the desk; see `chain`."""
        assert self.desk is not None
        self.desk.disk = self.engine.open_family(self.files, active, claim=claim, format=names.format.image)
        return self.chain(names, active)

    def chain(self, names: VolumeNames, active: str) -> list[str]:
        """The verified chain of *active*, leaf first, with the file names that the volume uses.

        A recorded parent path may differ from these in case. Raises as `VolumeEngine.layers` does.
        """
        if self.disk is not None:
            layers = self.disk.paths
        else:
            layers = self.engine.layers(self.files, active, format=names.format.image)
        return [self._own_name(names, file) for file in layers]

    def _own_name(self, names: VolumeNames, file: str) -> str:
        own = names.spelled(file)
        if own is None or own == file:
            return file
        with contextlib.suppress(FileNotFoundError):
            if self.files.stat(own).identity == self.files.stat(file).identity:
                return own
        return file


@dataclass(frozen=True, slots=True)
class CreateChild:
    """Create *path* as an empty child of *parent*; replaces an existing file only with *replace*."""

    path: str
    parent: str
    replace: bool = False

    def run(self, names: VolumeNames, site: Site) -> None:
        """Atomic; not repeatable: if interrupted before the .info names the child, it is undone by Discard."""
        format = names.format.image
        # The child is durable on return, as it must be before the .info names it.
        site.engine.create_child(
            site.files, self.path, self.parent, parent_format=format, replace=self.replace, disk=site.disk
        )


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge *top* into its parent *target*.

    *shrink*, a value of `vhdx.verbs.shrink.Shrink`, is what may be cut off the end of *target* if *top* is smaller. It
    is stored with the step, for recovery. Steps of older versions do not have it and cut off everything.
    """

    top: str
    target: str
    shrink: str = Shrink.FORCE.value

    def run(self, names: VolumeNames, site: Site) -> None:
        """Does nothing if *top* is not in the active chain: merging it again could overwrite later data."""
        info = site.document(names)
        if info is None:
            where = site.files.describe(names.info)
            raise Error(f"{where}: missing while a snapshot is being deleted; restore it from a backup and try again")
        if self.top in site.chain(names, info.active):
            format, shrink = names.format.image, Shrink(self.shrink)
            plan = None if site.desk is None else site.desk.plan
            site.engine.merge(
                site.files, self.top, self.target, shrink=shrink, format=format, disk=site.disk, plan=plan
            )


@dataclass(frozen=True, slots=True)
class Relink:
    """Make *parent* the parent of *child*, after the layer between them was merged into *parent*."""

    child: str
    parent: str

    def run(self, names: VolumeNames, site: Site) -> None:
        """Atomic and idempotent."""
        format = names.format.image
        site.engine.relink(site.files, self.child, self.parent, merged=True, format=format, disk=site.disk)


@dataclass(frozen=True, slots=True)
class WriteInfo:
    """Replace the volume's .info document."""

    document: Mapping[str, str]

    def run(self, names: VolumeNames, site: Site) -> None:
        """Atomic."""
        wanted = info_file.check(self.document, names, site.files.describe(names.info))
        if site.document(names) != wanted:
            site.put_document(names, wanted)


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove the image *path* unless the .info names it."""

    path: str

    def run(self, names: VolumeNames, site: Site) -> None:
        """A missing file is ignored."""
        if not info_file.or_none(site.document(names), names).names(self.path):
            _remove(site, self.path)


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the file *path*."""

    path: str

    def run(self, names: VolumeNames, site: Site) -> None:  # noqa: ARG002  one signature for all steps
        """A missing file is ignored."""
        _remove(site, self.path)


@dataclass(frozen=True, slots=True)
class Resize:
    """Resize the disk of *path* to *size* bytes."""

    path: str
    size: int

    def run(self, names: VolumeNames, site: Site) -> None:
        """Results in the old or the new size."""
        site.engine.resize(site.files, self.path, self.size, format=names.format.image, disk=site.disk)


@dataclass(frozen=True, slots=True)
class Convert:
    """Create *path*, in the format of its extension, with the content of *source*, which has no parent."""

    path: str
    source: str
    fixed: bool

    def run(self, names: VolumeNames, site: Site) -> None:
        """Atomic; not repeatable: the next step checks whether it was completed."""
        shape = Shape(DiskFormat(self.path.rpartition(".")[2]), self.fixed)
        site.engine.convert(
            site.files,
            self.source,
            site.files,
            self.path,
            source_format=names.format.image,
            options=shape.options,
            disk=site.disk,
        )


@dataclass(frozen=True, slots=True)
class Succeed:
    """Remove the volume's *base* and .info if *heir*, its base in another format, exists."""

    base: str
    heir: str

    def run(self, names: VolumeNames, site: Site) -> None:
        """Idempotent."""
        try:
            site.files.stat(self.heir)
        except FileNotFoundError:
            return
        _remove(site, names.info)
        _remove(site, self.base)


class MoveStopped(Error):
    """A move to the share *destination* was interrupted; only Cinder's database knows where the volume *owner* is."""

    def __init__(self, message: str, owner: str = "", destination: str = "", volume: str = "") -> None:
        super().__init__(message)
        self.owner = owner
        self.destination = destination
        self.volume = volume


@dataclass(frozen=True, slots=True)
class Moving:
    """Marks a volume that is being moved to the share *destination*; *owner* is its id in Cinder's database."""

    owner: str
    destination: str

    def run(self, names: VolumeNames, site: Site) -> None:
        """Raises MoveStopped: see `smbfs_driver.volumes.moving`."""
        where = site.files.describe(names.base)
        raise MoveStopped(
            f"{where}: its move to {self.destination} was interrupted and is not recovered yet",
            self.owner,
            self.destination,
            names.volume,
        )


def _remove(site: Site, path: str) -> None:
    if site.desk is not None:
        site.desk.release(path)
    with contextlib.suppress(FileNotFoundError):
        site.files.remove(path)
    site.files.sync_directory("")


Step = CreateChild | Merge | Relink | WriteInfo | Discard | Remove | Resize | Convert | Succeed | Moving
"""A change to the files of a volume; ``run`` completes it durably."""

RECORDED: Mapping[str, type[Step]] = {
    "merge": Merge,
    "relink": Relink,
    "write_info": WriteInfo,
    "discard": Discard,
    "remove": Remove,
    "succeed": Succeed,
    "moving": Moving,
}
"""The steps that an intent may contain, by their names there."""


def encode(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """*steps* as values for JSON."""
    names: dict[type, str] = {kind: name for name, kind in RECORDED.items()}
    return [{"step": names[type(step)], **dataclasses.asdict(step)} for step in steps]


def decode(document: object, names: VolumeNames, source: str) -> list[Step]:
    """The inverse of `encode`; *source* is the file name for errors.

    Raises Error unless every step is known and affects only files of this volume.
    """
    if not isinstance(document, list):
        raise Error(f"{source}: the steps are not a JSON array")
    return [_decode(entry, names, source) for entry in document]


def _decode(entry: object, names: VolumeNames, source: str) -> Step:
    fields = dict(entry) if isinstance(entry, dict) else {}
    kind = RECORDED.get(str(fields.pop("step", None)))
    if kind is Merge:
        fields.setdefault("shrink", Shrink.FORCE.value)
    if kind is None or set(fields) != {field.name for field in dataclasses.fields(kind)}:
        raise Error(f"{source}: unknown step; recover with the version of the driver that wrote it")
    if kind is WriteInfo:
        return WriteInfo(info_file.check(fields["document"], names, source).document())
    if kind is Moving:
        return _decode_moving(fields, source)
    if kind is Merge and fields["shrink"] not in [way.value for way in Shrink]:
        raise Error(f"{source}: unknown value {fields['shrink']!r} for shrink in a merge")
    heir = fields.get("heir")
    if heir is not None and not _is_base_of(heir, names.volume):
        raise Error(f"{source}: a step names {heir!r}, which is not a base of volume {names.volume}")
    for file in (value for key, value in fields.items() if key not in ("heir", "shrink")):
        if not isinstance(file, str) or names.kind(file) in (None, FileKind.INTENT):
            raise Error(f"{source}: a step names {file!r}, which is not a file of volume {names.volume}")
    return kind(**fields)


def _decode_moving(fields: Mapping[str, Any], source: str) -> Moving:
    if not all(isinstance(value, str) for value in fields.values()):
        raise Error(f"{source}: the values of a move must be strings")
    return Moving(**fields)


def _is_base_of(file: object, volume: str) -> bool:
    parsed = parse(file) if isinstance(file, str) else None
    return parsed is not None and parsed.kind is FileKind.BASE and parsed.names.volume == volume
