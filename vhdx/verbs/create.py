"""New images: empty ones, and children of others."""

import posixpath
from dataclasses import dataclass
from typing import Self

from vhdx.arguments import whole
from vhdx.chain.family import Family, Means
from vhdx.chain.forced import forget
from vhdx.image.base import CreateOptions, ImageFormat, ParentLink
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


@dataclass(frozen=True, slots=True)
class _Child:
    """An empty child of the leaf of *family* that may be made at *path*."""

    family: Family
    path: str
    size: int
    options: CreateOptions
    link: ParentLink

    @classmethod
    def planned(cls, family: Family, path: str, *, size: int | None, any_size: bool) -> Self:
        """Raises Error for one that cannot be."""
        files, parent = family.files, family.layers[0]
        below = parent.image.info
        link = link_to(files, path, parent.path, below, family.means.policy)
        size = below.virtual_size if size is None else size
        options = CreateOptions(
            format=below.format,
            logical_sector_size=below.logical_sector_size,
            physical_sector_size=below.physical_sector_size,
        )
        refuse_shape(files.describe(path), size, options, has_parent=True)
        if not any_size:
            refuse_unequal(files.describe(path), below.format, size, below.virtual_size)
        return cls(family, path, size, options, link)

    def make(self, *, replace: bool) -> None:
        """Make it, durably, or nothing."""
        files, means, image = self.family.files, self.family.means, self.family.layers[0].image
        below = image.info
        assert below.disk_id is not None
        sources, token = granting(files, [image.storage]), means.token()
        with building(files, self.path, token=token, replace=replace, quick=True, sources=sources) as storage:
            create_image(
                storage,
                size=self.size,
                # A VHD has an id of its own, which its children record; the layers of a VHDX are one disk.
                disk_id=below.disk_id if below.format is ImageFormat.VHDX else means.new_id(),
                new_id=means.new_id,
                options=self.options,
                parent=self.link,
            ).settle()
        # What was forced on an image of this name says nothing of the one that took its place.
        forget(files, self.path)


def create_child(
    family: Family, path: str, *, size: int | None, any_size: bool, replace: bool, said: bool
) -> None:
    """Make an empty child of the leaf of *family*, whose claim keeps writers from changing that meanwhile.

    *said* says that the format of the parent was. See `Engine.create_child`.
    """
    if replace:
        _refuse_replacing(family, path, said=said)
    _Child.planned(family, path, size=size, any_size=any_size).make(replace=replace)


def replace_leaf(
    family: Family, path: str, below: Family, *, size: int | None, any_size: bool, said: bool
) -> None:
    """Put an empty child of the leaf of *below*, layers of *family*, in the place of *path*, a name of its leaf.

    The leaf is released. Raises as `create_child`, with nothing changed and nothing released.
    """
    leaf = family.layers[0]
    if children := family.children(0):
        raise replacing(family.files, leaf.path, children)
    if posixpath.normpath(path) != posixpath.normpath(leaf.path):
        _refuse_replacing(below, path, said=said)
    child = _Child.planned(below, path, size=size, any_size=any_size)
    family.release(leaf.path)
    child.make(replace=True)


def _refuse_replacing(family: Family, path: str, *, said: bool) -> None:
    layers = [family.identity(place) for place in range(len(family.layers))]
    refuse_replacing(family.files, path, family.format, family.means, layers=layers, said=said)
