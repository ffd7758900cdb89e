"""A differencing VHD and its parent have one size: Windows is reported to refuse others, with 0xC03A0017.

They are read, merged and converted, as blktap makes larger children. VHDX allows any size.
"""

from vhdx.errors import UnequalSizes
from vhdx.image.base import ImageFormat


def refuse_unequal(name: str, format: ImageFormat, size: int, below: int) -> None:
    """Raises UnequalSizes where a disk of *size* bytes over a parent of *below* would be such a VHD."""
    if format is not ImageFormat.VHD or size == below:
        return
    raise UnequalSizes(
        f"{name}: a disk of {size} bytes over a parent of {below}: Windows reports 0xC03A0017 for a differencing VHD "
        f"whose size is not its parent's; nothing was changed"
    )
