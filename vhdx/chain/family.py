"""A disk whose files are open: its layers, the claims on them, and one look over the directories that they are in.

Whatever a verb has to know of a disk it asks here, so that nothing is opened twice and nobody comes in between.
"""

import posixpath
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Self

from vhdx.chain.chain import Chain, Claim
from vhdx.chain.children import Kin, Looked, Relatives
from vhdx.chain.parents import Layer, ParentPolicy
from vhdx.errors import Error
from vhdx.image.base import Image, ImageFormat, NewId
from vhdx.storage.base import Access, FileSystem


@dataclass(frozen=True, slots=True)
class Means:
    """What the verbs of an engine work with: where fresh ids come from, and where parents may lie."""

    new_id: NewId
    policy: ParentPolicy

    def token(self) -> str:
        """Eight hexadecimal digits for the name of a file under construction."""
        return self.new_id().hex[:8]


@dataclass(slots=True)
class Family:
    """The verified layers of one disk, leaf first, and what is known of the files beside them.

    Layers are named by their paths. It is for one thread, which closes it.
    """

    files: FileSystem
    chain: Chain
    means: Means
    _above: Sequence[Layer] = ()
    _relatives: Relatives | None = None
    _known: list[Kin] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        files: FileSystem,
        path: str,
        means: Means,
        *,
        writable: int = 0,
        down_to: str | None = None,
        writing: Access = Access.WRITE,
        access: Access = Access.READ,
        claim: Claim | None = None,
        format: ImageFormat | None = None,
    ) -> Self:
        """Open the disk of *path*; see `Chain.open`. *down_to* is the path of the last layer to be written to."""
        chain = Chain.open(
            files,
            path,
            new_id=means.new_id,
            writable=writable,
            down_to=None if down_to is None else files.stat(down_to).identity,
            writing=writing,
            access=access,
            claim=claim,
            policy=means.policy,
            format=format,
        )
        return cls(files, chain, means)

    def under(self, place: int) -> "Family":
        """The disk of one of the layers, as an open family of its own; closing that closes the layers of this one."""
        above = [*self._above, *self.layers[:place]]
        chain = Chain(self.layers[place:])
        return Family(self.files, chain, self.means, above, self._all_relatives(), self._known)

    @property
    def layers(self) -> Sequence[Layer]:
        """The open layers, leaf first."""
        return self.chain.layers

    @property
    def paths(self) -> list[str]:
        """Their paths."""
        return [layer.path for layer in self.chain.layers]

    @property
    def format(self) -> ImageFormat:
        """The format of every layer."""
        return self.chain.leaf.info.format

    def place(self, path: str) -> int | None:
        """The number of the layer that *path* is, by whatever name; None where it is none of them."""
        wanted = posixpath.normpath(path)
        for number, layer in enumerate(self.layers):
            if posixpath.normpath(layer.path) == wanted:
                return number
        identity = self.files.stat(path).identity
        return next((number for number in range(len(self.layers)) if self.identity(number) == identity), None)

    def is_leaf(self, path: str) -> bool:
        """Whether *path*, which need not be there, is a name of the leaf."""
        try:
            return self.place(path) == 0
        except FileNotFoundError:
            return False

    def identity(self, place: int) -> Hashable:
        """Which file a layer is."""
        return self.layers[place].image.storage.identity()

    def claimed(self, path: str) -> Image | None:
        """The image of a layer that is open for writing; None where *path* is no layer, or none that is."""
        place = self.place(path)
        image = None if place is None else self.layers[place].image
        return image if image is not None and image.storage.writable else None

    def image(self, path: str) -> Image:
        """The open image of a layer. Raises Error where *path* is none."""
        place = self.place(path)
        if place is None:
            raise Error(f"{self.files.describe(path)}: not a layer of {self.files.describe(self.paths[0])}")
        return self.layers[place].image

    def kin(self, place: int) -> Kin:
        """The images beside a layer; the layers themselves are known and not opened again."""
        kin = self._all_relatives().of(self.layers[place].path, self.format)
        if kin not in self._known:
            self._known.append(kin)
            home = posixpath.dirname(posixpath.normpath(self.layers[place].path))
            below: Hashable | None = None
            for layer in reversed([*self._above, *self.layers]):
                looked = Looked(layer.image.info, layer.image.storage.identity())
                if posixpath.dirname(posixpath.normpath(layer.path)) == home:
                    kin.know(layer.path, looked, below)
                below = looked.identity
        return kin

    def _all_relatives(self) -> Relatives:
        if self._relatives is None:
            self._relatives = Relatives(self.files, policy=self.means.policy, new_id=self.means.new_id)
        return self._relatives

    def _looked(self, place: int) -> Looked:
        return Looked(self.layers[place].image.info, self.identity(place))

    def children(self, place: int) -> list[str]:
        """The images whose parent a layer is; none are known where the directory cannot be listed."""
        if self.layers[place].image.info.linkage is None:
            return []
        try:
            return self.kin(place).children(self.layers[place].path, self._looked(place))
        except PermissionError:
            return []

    def namers(self, place: int) -> list[str]:
        """The images that name a layer in any way; see `Kin.namers`. Raises PermissionError."""
        return self.kin(place).namers(self.layers[place].path, self._looked(place))

    def size_under(self, place: int) -> int:
        """Bytes of the disk under a layer; 0 for the lowest."""
        return self.layers[place + 1].image.virtual_size if place + 1 < len(self.layers) else 0

    def size_of(self, path: str) -> int:
        """Bytes of the disk that a layer shows. Raises Error where *path* is none."""
        return self.image(path).virtual_size

    def release(self, path: str) -> None:
        """Close one layer, so that its file can be replaced or removed; the others stay open."""
        image = self.image(path)
        self.chain.layers[:] = [layer for layer in self.layers if layer.image is not image]
        image.close()

    def forget_relatives(self) -> None:
        """Something was changed: the next question is answered by another look."""
        self._known.clear()
        if self._relatives is not None:
            self._relatives.forget()

    def checkpoint(self) -> None:
        """Make every change durable in its place, with no log in use; the layers stay open."""
        for layer in self.layers:
            if layer.image.storage.writable:
                layer.image.checkpoint()

    def close(self) -> None:
        """Close every layer; see `Chain.close`."""
        self.chain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
