"""A format that is only read, as an image."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn
from uuid import UUID

from vhdx.errors import ReadOnly
from vhdx.extents import Extent, Presence, Range
from vhdx.image.base import ImageInfo, ParentLink, Progress, ReadOnlyFormat
from vhdx.image.gate import Gate
from vhdx.image.ranges import check_range
from vhdx.storage.base import Buffer, Storage


class ReadOnlyImage:
    """Implements `vhdx.image.base.Image` by what *format* says; every change is refused with ReadOnly."""

    def __init__(self, format: ReadOnlyFormat) -> None:
        self._format = format
        self.gate = Gate()

    @property
    def info(self) -> ImageInfo:
        """What the image says of itself."""
        return self._format.info

    @property
    def virtual_size(self) -> int:
        """Bytes of the disk."""
        return self._format.info.virtual_size

    @property
    def logical_sector_size(self) -> int:
        """Bytes of a sector."""
        return self._format.info.logical_sector_size

    @property
    def storage(self) -> Storage:
        """Where payload lies."""
        return self._format.storage

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What the format says of a range."""
        check_range(self.storage.name, offset, length, size=self.virtual_size, sector=self.logical_sector_size)
        return self._format.extents(offset, length)

    def locate(self, offset: int, length: int) -> int | Presence | None:  # noqa: ARG002
        """Unknown: `extents` tells."""
        return None

    def shared(self) -> None:
        """Nothing here changes places, so none can change under another."""

    def pinned(self) -> AbstractContextManager[None]:
        """Places never move."""
        return nullcontext()

    def verify(self) -> None:
        """What is never changed need not be fit for it."""

    def allocate(self, ranges: Sequence[Range]) -> AbstractContextManager[Sequence[Extent]]:  # noqa: ARG002
        self._refuse()

    def beside(self) -> AbstractContextManager[None]:
        self._refuse()

    def overwrite(self, offset: int, data: Buffer) -> bool:  # noqa: ARG002
        """Never here: `allocate` refuses."""
        return False

    def zero(self, offset: int, length: int) -> None:  # noqa: ARG002
        self._refuse()

    def discard(self, offset: int, length: int) -> None:  # noqa: ARG002
        self._refuse()

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:  # noqa: ARG002
        self._refuse()

    def resize(self, size: int, *, below: int = 0) -> None:  # noqa: ARG002
        self._refuse()

    def pack(self, on_progress: Progress) -> None:  # noqa: ARG002
        self._refuse()

    def set_parent(self, parent: ParentLink | None) -> None:  # noqa: ARG002
        self._refuse()

    def begin(self, *, data_write_guid: UUID | None = None) -> None:  # noqa: ARG002
        self._refuse()

    def flush(self) -> None:
        """There is nothing to make durable."""

    def checkpoint(self) -> None:
        """There is nothing to make durable."""

    def settle(self) -> None:
        """There is nothing to make durable."""

    def close(self) -> None:
        """Close the storage."""
        self.storage.close()

    def _refuse(self) -> NoReturn:
        raise ReadOnly(f"{self.storage.name}: {self.info.format} images are only read")
