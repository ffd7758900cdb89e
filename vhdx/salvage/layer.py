"""One damaged image: the counterpart of `vhdx.image.base.Image` for a salvage."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from vhdx.extents import Presence
from vhdx.image.base import ImageInfo
from vhdx.salvage.medium import Medium


class Piece(NamedTuple):
    """A range of a disk: DATA at *file_offset*, ZERO, NOT_PRESENT, or lost for the reason in *lost*."""

    offset: int
    length: int
    presence: Presence
    file_offset: int | None = None
    lost: str = ""

    @property
    def end(self) -> int:
        return self.offset + self.length


class SalvageLayer(Protocol):
    """One file. Offsets and lengths are multiples of the logical sector size and inside the disk."""

    @property
    def info(self) -> ImageInfo:
        """The image's properties as far as they are known; *linkage* and *parent* are None if unknown."""

    @property
    def medium(self) -> Medium:
        """The file with the payload."""

    @property
    def needs_parent(self) -> bool:
        """Whether blocks that are not present are read from a parent."""

    def survey(self) -> None:
        """Scan the block table; call once before `pieces`. Raises FormatError if it is not a block table."""

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """The pieces of a range in this layer: ascending and contiguous."""

    def close(self) -> None:
        """Close the file."""


BEHIND_END = "beyond end of file"
ENTRY_LOST = "its entry in the block table cannot be read"


def lost(offset: int, end: int, reason: str) -> Piece:
    """The range from *offset* to *end*, lost for *reason*."""
    return Piece(offset, end - offset, Presence.NOT_PRESENT, lost=reason)


def held(medium: Medium, sector: int, offset: int, end: int, file_offset: int) -> Iterator[Piece]:
    """DATA from *file_offset* for a range of the disk; the part beyond end of file is lost."""
    inside = min(max(medium.end - file_offset, 0) // sector * sector, end - offset)
    if inside:
        yield Piece(offset, inside, Presence.DATA, file_offset)
    if offset + inside < end:
        yield lost(offset + inside, end, BEHIND_END)
