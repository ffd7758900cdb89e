"""Copies of a disk under another name: of a sound one, and of what can be read of a damaged one."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from vhdx.arguments import whole
from vhdx.chain.family import Family, Means
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, Image, ImageFormat, ImageInfo, Progress
from vhdx.image.create import create_image, refuse_shape, whole_size
from vhdx.logs import debug
from vhdx.salvage.copying import fill
from vhdx.salvage.disk import open_salvage
from vhdx.salvage.report import Ledger, Salvaged
from vhdx.storage.base import FileSystem, Storage
from vhdx.storage.building import building, granting
from vhdx.verbs.contract import Warn
from vhdx.verbs.convert import convert
from vhdx.verbs.refusals import refuse_replacing

_LOG = logging.getLogger(__name__)


def copy(
    source: Family,
    files: FileSystem,
    target: str,
    *,
    options: CreateOptions | None,
    size: int | None,
    replace: bool,
    scan_zeros: bool,
    on_progress: Progress | None,
    on_warning: Warn | None,
) -> None:
    """Make *target* a copy of the disk of *source* in another shape; see `Engine.convert`."""
    size = None if size is None else whole("size", size)
    chain = source.chain
    shape = _shape(chain.images[-1].info, options, files.describe(target))
    if size is not None and size < chain.size:
        raise Error(f"{files.describe(target)}: {size} bytes cannot hold a disk of {chain.size} bytes")
    for fault in chain.shared():
        (on_warning or _LOG.warning)(str(fault))
    length = _whole(size or chain.size, shape)
    refuse_shape(files.describe(target), length, shape, has_parent=False)
    if replace:
        layers = [source.identity(place) for place in range(len(source.layers))]
        refuse_replacing(files, target, shape.format, source.means, layers=layers)
    sources = [image.storage for image in chain.images]
    debug(__name__, "%s: copying %s into it", files.describe(target), chain.leaf.storage.name)
    with _new(files, target, length, shape, sources=sources, means=source.means, replace=replace) as image:
        convert(chain, image, scan_zeros=scan_zeros, on_progress=on_progress)


def salvage(
    source_files: FileSystem,
    source: str,
    files: FileSystem,
    target: str,
    means: Means,
    *,
    source_format: ImageFormat | None,
    options: CreateOptions | None,
    replace: bool,
    without_parent: bool,
    on_progress: Progress | None,
) -> Salvaged:
    """Make *target* a copy of what can be read of *source*; see `Engine.salvage`."""
    ledger = Ledger()
    with open_salvage(
        source_files,
        source,
        ledger.notes,
        new_id=means.new_id,
        policy=means.policy,
        format=source_format,
        sector_size=options.logical_sector_size if options is not None else None,
        without_parent=without_parent,
    ) as disk:
        shape = _shape(disk.base, options, files.describe(target))
        length = _whole(disk.size, shape)
        refuse_shape(files.describe(target), length, shape, has_parent=False)
        if replace:
            layers = [storage.identity() for storage in disk.storages]
            refuse_replacing(files, target, shape.format, means, layers=layers)
        with _new(files, target, length, shape, sources=disk.storages, means=means, replace=replace) as image:
            fill(disk, image, ledger, on_progress=on_progress)
        return ledger.report(disk.size)


@contextmanager
def _new(
    files: FileSystem,
    path: str,
    size: int,
    shape: CreateOptions,
    *,
    sources: Sequence[Storage],
    means: Means,
    replace: bool,
) -> Iterator[Image]:
    """A new image, which reads as zeros, to be filled; it appears under its name when that is done."""
    granted = granting(files, sources)
    with building(files, path, token=means.token(), replace=replace, sources=granted) as storage:
        image = create_image(storage, size=size, disk_id=means.new_id(), new_id=means.new_id, options=shape)
        yield image
        image.settle()


def _shape(base: ImageInfo, options: CreateOptions | None, target: str) -> CreateOptions:
    """The shape of a copy: as asked for, else that of *base*, the lowest layer; sectors are those of the source."""
    if options is None:
        block_size = base.block_size if base.format is ImageFormat.VHDX else None
        options = CreateOptions(block_size=block_size, physical_sector_size=base.physical_sector_size)
    if base.format is ImageFormat.RAW:
        return options
    sector = options.logical_sector_size or base.logical_sector_size
    if sector != base.logical_sector_size or (sector != 512 and options.format is ImageFormat.VHD):
        raise Error(
            f"{target}: the source has sectors of {base.logical_sector_size} bytes, and what a guest wrote in those "
            f"does not make sense in others"
        )
    return replace(options, logical_sector_size=sector)


def _whole(size: int, options: CreateOptions) -> int:
    """*size* in whole sectors: a raw source may end anywhere."""
    sector = options.logical_sector_size or 512
    return -(-whole_size(size, options) // sector) * sector
