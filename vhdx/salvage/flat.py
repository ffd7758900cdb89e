"""A raw disk or fixed VHD: file offset equals disk offset."""

from collections.abc import Iterator
from dataclasses import dataclass

from vhdx.image.base import ImageInfo
from vhdx.salvage.layer import Piece, held
from vhdx.salvage.medium import Medium


@dataclass(frozen=True, slots=True)
class FlatLayer:
    """Implements `SalvageLayer`; the disk is the first *info.virtual_size* bytes of *medium*."""

    info: ImageInfo
    medium: Medium
    needs_parent: bool = False

    def survey(self) -> None:
        """Does nothing: there is no table."""

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """DATA up to end of file."""
        return held(self.medium, self.info.logical_sector_size, offset, offset + length, offset)

    def close(self) -> None:
        """Close the file."""
        self.medium.storage.close()
