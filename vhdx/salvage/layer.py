"""One damaged image as far as it can be read: the counterpart of `vhdx.image.base.Image` for a salvage."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from vhdx.extents import Presence
from vhdx.image.base import ImageInfo
from vhdx.salvage.medium import Medium


class Piece(NamedTuple):
    """A range of a disk: DATA at *file_offset*, ZERO, NOT_PRESENT, or, where *lost* says why, none of them."""

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
        """What the image says of itself, as far as that is known; *linkage* and *parent* are None where it is not."""

    @property
    def medium(self) -> Medium:
        """Where payload lies."""

    @property
    def needs_parent(self) -> bool:
        """Whether what is not present is in a parent."""

    def survey(self) -> None:
        """Look through the block table once, before the first `pieces`. Raises FormatError for one that is no table."""

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """What this layer says of a range: ascending and contiguous."""

    def close(self) -> None:
        """Close the file."""


BEHIND_END = "it is beyond end of file"
ENTRY_LOST = "its entry in the block table cannot be read"


def lost(offset: int, end: int, reason: str) -> Piece:
    """The range from *offset* to *end* as a lost one."""
    return Piece(offset, end - offset, Presence.NOT_PRESENT, lost=reason)


def held(medium: Medium, sector: int, offset: int, end: int, file_offset: int) -> Iterator[Piece]:
    """DATA from *file_offset* on for a range of the disk; what lies beyond end of file is lost."""
    inside = min(max(medium.end - file_offset, 0) // sector * sector, end - offset)
    if inside:
        yield Piece(offset, inside, Presence.DATA, file_offset)
    if offset + inside < end:
        yield lost(offset + inside, end, BEHIND_END)
