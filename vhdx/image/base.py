"""What every image is, whatever its format: one disk, or one layer of a disk, over one storage."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Protocol
from uuid import UUID

from vhdx.arguments import whole
from vhdx.errors import FormatError
from vhdx.extents import Extent, Presence, Range
from vhdx.image.gate import Gate
from vhdx.storage.base import Buffer, Storage

MIB = 1 << 20
ALLOCATE_LIMIT = 64 * MIB
"""The most bytes that one `Image.allocate` takes."""

NewId = Callable[[], UUID]
"""Where fresh GUIDs come from: `uuid.uuid4` in production, a counter in tests that compare bytes."""


Progress = Callable[[int, int], None]
"""Bytes done and in all, called when everything is consistent; may raise Cancelled."""

Admit = Callable[["ImageInfo"], None]
"""Told what an image says of itself before a byte of its file is changed; raises to keep it so."""


class ImageFormat(StrEnum):
    """How the bytes of a file are laid out."""

    VHDX = "vhdx"
    VHD = "vhd"
    RAW = "raw"


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

    The parent's linkage (see `ImageInfo`) must equal *linkage* or, where present, *linkage2*. *paths* are the recorded
    places by key, in Windows notation: ``relative_path``, ``volume_path``, ``absolute_win32_path``; of a VHD also
    ``parent_name``, the name in its dynamic header. A VHD has no *linkage2*.
    """

    linkage: UUID
    linkage2: UUID | None = None
    paths: dict[str, str] = field(default_factory=dict)

    def accepts(self, linkage: UUID | None) -> bool:
        """Whether an image with this linkage is the recorded parent."""
        return linkage is not None and linkage in (self.linkage, self.linkage2)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image says of itself. Sizes are in bytes.

    *linkage* is what a child records of this image: the DataWriteGuid of a VHDX, which changes with every modification
    of content; the unique id of a VHD, which stays. *warnings* are faults that do not hinder reading.
    """

    format: ImageFormat
    type: DiskType
    virtual_size: int
    block_size: int | None  # None where the format has no blocks
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID | None  # SCSI page 83 of a VHDX, equal along a chain; the unique id of a VHD
    linkage: UUID | None
    creator: str
    log: LogState
    log_entries: int
    parent: ParentLink | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """The shape of a new image; what a format has no place for is ignored.

    *fixed* allocates the whole disk. A *block_size* of None leaves the choice to the format: 32 MiB for VHDX, 2 MiB
    with a parent and for VHD. A *logical_sector_size* of None is that of the source or parent, else 512. *azure* makes
    a VHD as Azure takes it: fixed, the size rounded up to whole MiB and 20 of them at least, up to 32 TiB.
    """

    format: ImageFormat = ImageFormat.VHDX
    fixed: bool = False
    azure: bool = False
    block_size: int | None = None
    logical_sector_size: int | None = None
    physical_sector_size: int = 4096
    log_length: int = MIB
    creator: str = "python-vhdx"

    def __post_init__(self) -> None:
        """Raises TypeError for a size that is no whole number."""
        for name in ("block_size", "logical_sector_size", "physical_sector_size", "log_length"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, whole(name, value))


class ReadOnlyFormat(Protocol):
    """What a format that is only read has to say; `vhdx.image.read_only.ReadOnlyImage` makes an image of it."""

    @property
    def info(self) -> ImageInfo:
        """What the image says of itself."""

    @property
    def storage(self) -> Storage:
        """Where the payload lies that *extents* name."""

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What is said of a range of whole sectors inside the disk: ascending, contiguous, maximal."""


class Readable(Protocol):
    """One layer to be read. Offsets and lengths are multiples of the logical sector size and inside the disk."""

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

    def locate(self, offset: int, length: int) -> int | Presence | None:
        """Where a range of any bytes can be read in one piece: its offset in the file, or ZERO, or NOT_PRESENT.

        None: unknown (the range is mixed or outside the disk); use `extents`.
        """

    def shared(self) -> FormatError | None:
        """The first two blocks of this layer that share a part of its file, as what is wrong with the image; or None.

        To be asked before the whole of a disk is read. Time goes by what of the table is no hole. Raises FormatError
        when the blocks inside the file are together longer than twice the file: reading them all would take a time
        that no length of the file bounds.
        """

    def pinned(self) -> AbstractContextManager[None]:
        """While inside, no place that `extents` has named is handed to other payload: what is read there is right."""

    def close(self) -> None:
        """Flush, settle the log and give the file back. After a failure: give the file back untouched."""


class Writable(Protocol):
    """One layer whose content can be changed, by several threads at once.

    Whoever changes it is inside its *gate*. All methods but `overwrite` come in by themselves.
    """

    gate: Gate

    def beside(self) -> AbstractContextManager[None]:
        """Inside the gate, beside others, and the change of content is declared (`begin`).

        Raises ReadOnly, Poisoned, and Error when it is closed. Who comes in this way finds the image usable; it may
        become poisoned meanwhile.
        """

    def allocate(self, ranges: Sequence[Range]) -> AbstractContextManager[Sequence[Extent]]:
        """Places in the file for *ranges* (ascending, disjoint, ALLOCATE_LIMIT bytes at most in all).

        The caller puts the payload there inside the ``with``; a clean exit stages the metadata, an exception gives
        the space back. A crash before the next flush leaves each sector as it was or as it was written.
        """

    def overwrite(self, offset: int, data: Buffer) -> bool:
        """Put *data* where the disk has the range already, in one piece, so that nothing but payload changes.

        For whoever is inside the gate. False where more is to be done, or nothing may be: then nothing was done, and
        `allocate` does it or says why. What a crash or a failure leaves is as in `allocate`.
        """

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, masking any parent."""

    def discard(self, offset: int, length: int) -> None:
        """The guest needs a range no more: whole blocks read as zeros and give their space back, the rest stays.

        Where the format cannot let a block go, the block stays as it is: in a fixed image, and in a VHD over a parent,
        which would show.
        """

    def begin(self, *, data_write_guid: UUID | None = None) -> None:
        """Declare, durably, that the content is about to change: by a given DataWriteGuid or a fresh one.

        Happens by itself before the first change; calling it with a GUID chooses that one. A VHD does not change
        its id, and a raw image has none: nothing tells their children.
        """

    def flush(self) -> None:
        """Make every change before this call durable, in one consistent step."""

    def checkpoint(self) -> None:
        """Make every change before this call durable and take the log out of use; the image stays open.

        From here on the file is what `close` would leave, but for free space at its end.
        The next change of content is told as the first of a session is: see `begin`.
        """

    def settle(self) -> None:
        """Make the file complete and durable as `close` does, but leave it open: it is the caller's from here on."""


class Restructurable(Protocol):
    """One layer whose shape can be changed: its size, its parent, what space it takes."""

    def resize(self, size: int, *, below: int = 0) -> None:
        """Change the size of the disk; a grown part reads as zeros.

        *below* is the virtual size of what lies under this layer (0: nothing), whose content past the old end must
        not show through. What a shrunk disk loses is gone.
        """

    def verify(self) -> None:
        """Look whether the image can be changed: every structure in the file, no two on one place. Changes nothing.

        Happens by itself before the first change. Raises FormatError.
        """

    def set_parent(self, parent: ParentLink | None) -> None:
        """Replace the record of the parent; the linkage of this image stays. Durable on return.

        None detaches a differencing image from its parent: what it does not hold reads as zeros from then on.
        """

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:
        """Give back the space of *ranges*, whole blocks that are known to hold nothing but zeros.

        The disk reads as before, so the linkage stays. *masked* says that a parent may hold something there, which
        must not come through; a format that cannot say so keeps the blocks.
        """

    def pack(self, on_progress: Progress) -> None:
        """Move blocks from the end of the file into holes before them and cut off what is free behind the last one.

        The linkage stays. *on_progress* is called between moves, at points where a stop leaves a sound image.
        Raises Error for a fixed image, whose file has no holes.
        """


class Image(Readable, Writable, Restructurable, Protocol):
    """One layer, with all that can be done to it; `vhdx.errors.ReadOnly` is raised where it was opened to be read."""
