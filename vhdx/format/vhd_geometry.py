"""Cylinders, heads and sectors of a VHD (VHD 1.0, appendix "CHS Calculation").

The geometry rounds the size down and is limited to about 127 GiB; the disk size is never derived from it.
"""

from typing import NamedTuple

SECTOR = 512
_MOST_CYLINDERS = 65535


class Geometry(NamedTuple):
    """CHS geometry in a footer."""

    cylinders: int
    heads: int
    sectors_per_track: int

    @property
    def size(self) -> int:
        """Bytes addressable by this geometry."""
        return self.cylinders * self.heads * self.sectors_per_track * SECTOR


LARGEST = Geometry(_MOST_CYLINDERS, 16, 255)
"""Disk2vhd and qemu-img write it for smaller disks too; every reader then uses the size in the footer."""


def geometry(size: int) -> Geometry:
    """The geometry that the specification defines for a disk of *size* bytes."""
    sectors = min(size // SECTOR, _MOST_CYLINDERS * 16 * 255)
    if sectors >= _MOST_CYLINDERS * 16 * 63:
        return Geometry(sectors // 255 // 16, 16, 255)
    heads, per_track = max(4, -(-(sectors // 17) // 1024)), 17
    for following in (31, 63):
        if heads <= 16 and sectors // per_track < heads * 1024:
            break
        heads, per_track = 16, following
    return Geometry(sectors // per_track // heads, heads, per_track)
