"""The shape of a volume: image format and provisioning."""

from dataclasses import dataclass

from smbfs_driver.volumes.names import DiskFormat
from smbfs_driver.volumes.refusals import Refused
from vhdx.image.base import CreateOptions

LARGEST = {DiskFormat.VHD: 2040 << 30, DiskFormat.VHDX: 64 << 40}
"""Largest disk in bytes, by format (Windows' limit for VHD; MS-VHDX 2.6.2.2)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Image format and provisioning. *fixed* is Cinder's thick provisioning: all space is allocated as zeros."""

    format: DiskFormat = DiskFormat.VHDX
    fixed: bool = False

    @property
    def options(self) -> CreateOptions:
        """As options of the engine."""
        return CreateOptions(format=self.format.image, fixed=self.fixed)

    def check(self, size: int) -> int:
        """Return *size*. Raises Refused if it exceeds the limit of the format."""
        if size > LARGEST[self.format]:
            advice = "; use VHDX" if size <= LARGEST[DiskFormat.VHDX] else ""
            limit = f"the {LARGEST[self.format]} bytes of a {self.format.value.upper()} disk"
            raise Refused(f"a disk of {size} bytes is larger than {limit}{advice}")
        return size


DYNAMIC_VHDX = Shape()
