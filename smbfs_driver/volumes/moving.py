"""A volume on its way to another share, or into another shape.

A move goes over two shares and the catalogue of whoever owns the volume (Cinder's database), which says where the
volume is. It is made so that either place is right at any time:

1. the volume is held, and its intent marked with where it goes;
2. a copy is made on the other share, whole and durable;
3. the owner enters the new place in the catalogue: this is when the volume has moved;
4. the files on the first share are removed, and then the mark.

Stopped before 3, the copy is one too many; after it, the first files are. Only the catalogue can tell, so nothing but
`settle` touches a marked volume: everything else raises MoveStopped, with the owner's id for the volume.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smbfs_driver.volumes import journal, plans
from smbfs_driver.volumes.journal import VolumeOperation
from smbfs_driver.volumes.names import DiskFormat, VolumeNames
from smbfs_driver.volumes.plans import Plan
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.shelf import Shelf
from smbfs_driver.volumes.steps import Moving, Site
from vhdx.image.base import DiskType
from vhdx.storage.base import Access
from vhdx.storage.building import temporary_name


@dataclass(frozen=True, slots=True)
class Destination:
    """The share at *address*, and the volumes on it."""

    address: str
    shelf: Shelf


@dataclass(frozen=True, slots=True)
class Kept:
    """How a volume is kept: the shape of its base, and whether snapshots are on it."""

    shape: Shape
    has_snapshots: bool


def kept(shelf: Shelf, name: str) -> Kept:
    """How the volume is kept now."""
    with shelf.working() as here:
        names = here.settled(name)
        state = here.state(names)
        shape = Shape(names.format, _is_fixed(here.site, names))
    return Kept(shape, has_snapshots=len(state.chain) > 1 or bool(state.info.snapshots))


def reshape(shelf: Shelf, name: str, shape: Shape) -> None:
    """Give a volume without snapshots another format, or another way to take its space. Done or not done when stopped.

    Raises InUse while somebody has the volume open.
    """
    with shelf.operation(name) as held:
        site, names = held.site, held.names
        state = Shelf(site).state(names, _claim)
        base = plans.check_lone(state)
        if names.format is shape.format:
            held.run(Plan([], undo=[]))
            building = temporary_name(base, site.token())
            was_fixed, format = _is_fixed(site, names), names.format.image
            site.engine.convert(
                site.files, base, site.files, building, source_format=format, options=shape.options, disk=site.disk
            )
            site.clear()
            _thin_out(site, building, was_fixed=was_fixed, shape=shape)
            site.files.rename(building, base, replace=True)
            site.files.sync_directory("")
            return
        heir = VolumeNames(name, shape.format)
        # Held as well, so that nobody takes what is under construction for a leftover.
        with journal.operation(heir, shelf.site):
            was_fixed = _is_fixed(site, names)
            held.run(plans.reformat(state, heir, fixed=shape.fixed))
            _thin_out(site, heir.base, was_fixed=was_fixed, shape=shape)


def move(shelf: Shelf, name: str, onto: Destination, *, owner: str, shape: Shape, entered: Callable[[], None]) -> None:
    """Move a volume without snapshots; *entered* returns when the catalogue says that it is there.

    Raises InUse while somebody has the volume open, Error where files of the volume are there already. Where *entered*
    raises, the catalogue has to be asked, by whoever calls `settle`.
    """
    with shelf.operation(name) as held:
        site, names = held.site, held.names
        base = plans.check_lone(Shelf(site).state(names, _claim))
        begun = False
        try:
            with onto.shelf.creation(name, shape.format) as copy:
                # Not before both places are held: what is marked on one share under two names, nobody could settle.
                held.mark(Moving(owner, onto.address))
                begun = True
                site.engine.convert(
                    site.files,
                    base,
                    copy.site.files,
                    copy.names.base,
                    source_format=names.format.image,
                    options=shape.options,
                    disk=site.disk,
                )
                _thin_out(copy.site, copy.names.base, was_fixed=_is_fixed(site, names), shape=shape)
        except BaseException:
            if begun:
                onto.shelf.delete(name)
                held.unmark()
            raise
        held.check()
        entered()
        _remove(held)


def settle(shelf: Shelf, name: str, home: Shelf | None, at: Callable[[str], Shelf]) -> bool:
    """Settle a move from *shelf* that was stopped; whether there was one.

    *home* is where the catalogue has the volume now, None where it still is on *shelf*; *at* gives the shelf at an
    address. Raises InUse while the move is running, Error where the volume is not where it should be.
    """
    return any(_settle(shelf, VolumeNames(name, format), home, at) for format in DiskFormat)


def _settle(shelf: Shelf, names: VolumeNames, home: Shelf | None, at: Callable[[str], Shelf]) -> bool:
    with journal.marked(names, shelf.site) as found:
        if found is None:
            return False
        held, mark = found
        # What stays is looked at before the other is removed.
        (home or shelf).find(names.volume)
        if home is not None:
            _remove(held)
        else:
            at(mark.destination).delete(names.volume)
        return True


def _is_fixed(site: Site, names: VolumeNames) -> bool:
    return site.engine.info(site.files, names.base, format=names.format.image).type is DiskType.FIXED


def _thin_out(site: Site, path: str, *, was_fixed: bool, shape: Shape) -> None:
    """Give back the zeros that a fixed disk was made of. The disk reads the same throughout."""
    if was_fixed and not shape.fixed:
        site.engine.compact(site.files, path, format=shape.format.image)


def _remove(held: VolumeOperation) -> None:
    held.carry_out(plans.delete_volume(held.names, Shelf(held.site).files_of(held.names)).steps)


def _claim(above: Sequence[str]) -> Access:  # noqa: ARG001  there is one layer
    """Nobody else may have the volume open while it goes elsewhere."""
    return Access.WRITE
