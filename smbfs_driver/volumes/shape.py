"""How a volume is kept: which format its files have, and whether its space is taken at once."""

from dataclasses import dataclass

from smbfs_driver.volumes.names import DiskFormat
from vhdx.image.base import CreateOptions


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a new volume. *fixed* is what Cinder calls thick: all of its space is taken, as written zeros."""

    format: DiskFormat = DiskFormat.VHDX
    fixed: bool = False

    @property
    def options(self) -> CreateOptions:
        """The same as the engine takes it."""
        return CreateOptions(format=self.format.image, fixed=self.fixed)


DYNAMIC_VHDX = Shape()
