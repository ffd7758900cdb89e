"""Move a volume to another share, or convert it to another shape.

A move involves two shares and Cinder's database, which records the location of the volume:

1. hold the volume and store the destination in its intent (the mark);
2. create a complete, durable copy on the destination share;
3. the caller updates the database; this moves the volume;
4. remove the files on the source share, then the mark.

After an interruption before step 3 the copy is superfluous, after it the source files are. Only the database can tell,
so no operation but `settle` changes a marked volume: all others raise MoveStopped, with the volume's id in the
database.
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
    """The share at *address* and its volumes."""

    address: str
    shelf: Shelf


@dataclass(frozen=True, slots=True)
class Kept:
    """The shape of a volume's base, and whether the volume has snapshots."""

    shape: Shape
    has_snapshots: bool


def kept(shelf: Shelf, name: str) -> Kept:
    """The current shape of a volume."""
    with shelf.working() as here:
        names = here.settled(name)
        state = here.state(names)
        shape = Shape(names.format, _is_fixed(here.site, names))
    return Kept(shape, has_snapshots=len(state.chain) > 1 or bool(state.info.snapshots))


def reshape(shelf: Shelf, name: str, shape: Shape) -> None:
    """Convert a volume without snapshots to another format or provisioning. Atomic.

    Raises InUse if the volume is open.
    """
    with shelf.operation(name) as held:
        site, names = held.site, held.names
        state = Shelf(site).state(names, _claim)
        base = plans.check_lone(state)
        _check_size(site, base, shape)
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
        # Held, too, so that no recovery removes its temporary files.
        with journal.operation(heir, shelf.site):
            was_fixed = _is_fixed(site, names)
            held.run(plans.reformat(state, heir, fixed=shape.fixed))
            _thin_out(site, heir.base, was_fixed=was_fixed, shape=shape)


def move(shelf: Shelf, name: str, onto: Destination, *, owner: str, shape: Shape, entered: Callable[[], None]) -> None:
    """Move a volume without snapshots; *entered* returns once the database has the new location.

    Raises InUse if the volume is open, Error if the destination has files of a volume with this name. If *entered*
    raises, the caller must query the database and call `settle`.
    """
    with shelf.operation(name) as held:
        site, names = held.site, held.names
        base = plans.check_lone(Shelf(site).state(names, _claim))
        _check_size(site, base, shape)
        begun = False
        try:
            with onto.shelf.creation(name, shape.format) as copy:
                # Only after both volumes are held: `settle` could not recover a mark whose destination is not.
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
    """Recover an interrupted move from *shelf*; whether there was one.

    *home* is the location in the database, None if that is still *shelf*; *at* returns the shelf at an address. Raises
    InUse if the move is running, Error if the volume is not at the location in the database.
    """
    return any(_settle(shelf, VolumeNames(name, format), home, at) for format in DiskFormat)


def _settle(shelf: Shelf, names: VolumeNames, home: Shelf | None, at: Callable[[str], Shelf]) -> bool:
    with journal.marked(names, shelf.site) as found:
        if found is None:
            return False
        held, mark = found
        # Check the copy that stays before removing the other.
        (home or shelf).find(names.volume)
        if home is not None:
            _remove(held)
        else:
            at(mark.destination).delete(names.volume)
        return True


def _is_fixed(site: Site, names: VolumeNames) -> bool:
    return site.engine.info(site.files, names.base, format=names.format.image).type is DiskType.FIXED


def _check_size(site: Site, base: str, shape: Shape) -> None:
    assert site.disk is not None
    shape.check(site.disk.size_of(base))


def _thin_out(site: Site, path: str, *, was_fixed: bool, shape: Shape) -> None:
    """Compact an image that was converted from fixed to dynamic, which consists of stored zeros."""
    if was_fixed and not shape.fixed:
        site.engine.compact(site.files, path, format=shape.format.image)


def _remove(held: VolumeOperation) -> None:
    held.carry_out(plans.delete_volume(held.names, Shelf(held.site).files_of(held.names)).steps)


def _claim(above: Sequence[str]) -> Access:  # noqa: ARG001  there is one layer
    """Lock the volume exclusively."""
    return Access.WRITE
