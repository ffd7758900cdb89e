"""New images: empty ones, and children of others."""

from vhdx.arguments import whole
from vhdx.chain.family import Family, Means
from vhdx.chain.forced import forget
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.image.create import create_image, refuse_shape
from vhdx.storage.base import FileSystem
from vhdx.storage.building import building, granting
from vhdx.verbs.equal_sizes import refuse_unequal
from vhdx.verbs.refusals import refuse_replacing, replacing
from vhdx.verbs.relink import link_to


def create(
    files: FileSystem, path: str, size: int, options: CreateOptions | None, means: Means, *, replace: bool
) -> None:
    """Make an image; see `Engine.create`."""
    size = whole("size", size)
    options = options or CreateOptions()
    refuse_shape(files.describe(path), size, options, has_parent=False)
    if replace:
        refuse_replacing(files, path, options.format, means)
    with building(files, path, token=means.token(), replace=replace, quick=True) as storage:
        create_image(
            storage, size=size, disk_id=means.new_id(), new_id=means.new_id, options=options
        ).settle()


def create_child(
    family: Family, path: str, *, size: int | None, any_size: bool, replace: bool, said: bool
) -> None:
    """Make an empty child of the leaf of *family*, whose claim keeps writers from changing that meanwhile.

    *said* says that the format of the parent was. See `Engine.create_child`.
    """
    files, means = family.files, family.means
    below = family.chain.leaf.info
    if replace:
        layers = [family.identity(place) for place in range(len(family.layers))]
        refuse_replacing(files, path, below.format, means, layers=layers, said=said)
    _make(family, path, size=size, any_size=any_size, replace=replace)


def replace_leaf(family: Family) -> None:
    """Put an empty child of the second layer in the place of the leaf, which is released. Raises HasChildren."""
    leaf = family.layers[0].path
    if len(family.layers) == 1:
        raise Error(f"{family.files.describe(leaf)}: has no parent, of which it could become an empty child again")
    if children := family.children(0):
        raise replacing(family.files, leaf, children)
    below = family.under(1)
    family.release(leaf)
    _make(below, leaf, size=None, any_size=False, replace=True)


def _make(family: Family, path: str, *, size: int | None, any_size: bool, replace: bool) -> None:
    files, means, parent = family.files, family.means, family.layers[0]
    below = parent.image.info
    link = link_to(files, path, parent.path, below, means.policy)
    assert below.disk_id is not None
    size = below.virtual_size if size is None else size
    options = CreateOptions(
        format=below.format,
        logical_sector_size=below.logical_sector_size,
        physical_sector_size=below.physical_sector_size,
    )
    refuse_shape(files.describe(path), size, options, has_parent=True)
    if not any_size:
        refuse_unequal(files.describe(path), below.format, size, below.virtual_size)
    sources = granting(files, [parent.image.storage])
    with building(files, path, token=means.token(), replace=replace, quick=True, sources=sources) as storage:
        create_image(
            storage,
            size=size,
            # A VHD has an id of its own, which its children record; the layers of a VHDX are one disk.
            disk_id=below.disk_id if below.format is ImageFormat.VHDX else means.new_id(),
            new_id=means.new_id,
            options=options,
            parent=link,
        ).settle()
    # What was forced on an image of this name says nothing of the one that took its place.
    forget(files, path)
