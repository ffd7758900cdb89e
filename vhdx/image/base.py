"""What every image is, whatever its format: one disk, or one layer of a disk, over one storage."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol
from uuid import UUID

from vhdx.extents import Extent, Range
from vhdx.storage.base import Storage

MIB = 1 << 20
ALLOCATE_LIMIT = 64 * MIB
"""The most bytes that one `Image.allocate` takes."""

NewId = Callable[[], UUID]
"""Where fresh GUIDs come from: `uuid.uuid4` in production, a counter in tests that compare bytes."""


class DiskType(Enum):
    """How a file holds its disk."""

    FIXED = "fixed"
    DYNAMIC = "dynamic"
    DIFFERENCING = "differencing"


class LogState(Enum):
    """Whether a file carries changes that are not in place yet."""

    CLEAN = "clean"
    DIRTY = "dirty"


@dataclass(frozen=True, slots=True)
class ParentLink:
    """What a differencing image records of its parent.

    The parent's DataWriteGuid must equal *linkage* or, where present, *linkage2*. *paths* are the recorded places
    by key (``relative_path``, ``volume_path``, ``absolute_win32_path``), in Windows notation.
    """

    linkage: UUID
    linkage2: UUID | None = None
    paths: dict[str, str] = field(default_factory=dict)

    def accepts(self, data_write_guid: UUID) -> bool:
        """Whether an image with this DataWriteGuid is the recorded parent."""
        return data_write_guid in (self.linkage, self.linkage2)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image says of itself. Sizes are in bytes."""

    format: str
    type: DiskType
    virtual_size: int
    block_size: int
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID  # SCSI page 83, equal along a chain
    data_write_guid: UUID
    creator: str
    log: LogState
    log_entries: int
    parent: ParentLink | None


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """The shape of a new image; None leaves the choice to the format (32 MiB blocks, 2 MiB with a parent)."""

    block_size: int | None = None
    logical_sector_size: int = 512
    physical_sector_size: int = 4096
    log_length: int = MIB
    creator: str = "python-vhdx"


class Image(Protocol):
    """One layer. Offsets and lengths are multiples of the logical sector size and inside the disk."""

    @property
    def info(self) -> ImageInfo: ...

    @property
    def virtual_size(self) -> int:
        """Bytes of the disk, as in *info*."""

    @property
    def logical_sector_size(self) -> int:
        """Bytes of a sector, as in *info*."""

    @property
    def storage(self) -> Storage: ...

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What this layer says of a range: ascending, contiguous, maximal."""

    def allocate(self, ranges: Sequence[Range]) -> AbstractContextManager[Sequence[Extent]]:
        """Places in the file for *ranges* (ascending, disjoint, ALLOCATE_LIMIT bytes at most in all).

        The caller puts the payload there inside the ``with``; a clean exit stages the metadata, an exception gives
        the space back. A crash before the next flush leaves each sector as it was or as it was written.
        """

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, masking any parent."""

    def discard(self, offset: int, length: int) -> None:
        """The guest needs a range no more: whole blocks read as zeros and give their space back, the rest stays."""

    def resize(self, size: int, *, below: int = 0) -> None:
        """Change the size of the disk; a grown part reads as zeros.

        *below* is the virtual size of what lies under this layer (0: nothing), whose content past the old end must
        not show through. What a shrunk disk loses is gone.
        """

    def begin(self, *, data_write_guid: UUID | None = None) -> None:
        """Declare, durably, that the content is about to change: by a given DataWriteGuid or a fresh one.

        Happens by itself before the first change; calling it with a GUID chooses that one.
        """

    def set_parent(self, parent: ParentLink) -> None:
        """Replace the record of the parent; the DataWriteGuid stays. Durable on return."""

    def flush(self) -> None:
        """Make every change before this call durable, in one consistent step."""

    def close(self) -> None:
        """Flush, settle the log and give the file back. After a failure: give the file back untouched."""
