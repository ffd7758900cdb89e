"""The shape of a volume: image format and provisioning."""

from dataclasses import dataclass

from smbfs_driver.volumes.names import DiskFormat
from vhdx.image.base import CreateOptions


@dataclass(frozen=True, slots=True)
class Shape:
    """Image format and provisioning. *fixed* is Cinder's thick provisioning: all space is allocated as zeros."""

    format: DiskFormat = DiskFormat.VHDX
    fixed: bool = False

    @property
    def options(self) -> CreateOptions:
        """As options of the engine."""
        return CreateOptions(format=self.format.image, fixed=self.fixed)


DYNAMIC_VHDX = Shape()
