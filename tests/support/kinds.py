"""Every kind of image, and random histories that make images of it.

How many images of each kind the tests make is set by the environment variable ``VHDX_RANDOM_IMAGES`` (50).
"""

import os
import random
from dataclasses import dataclass

from tests.support.disks import MIB, Disk, pattern
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import FileSystem

COUNT = int(os.environ.get("VHDX_RANDOM_IMAGES", "50"))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of image: its format, whether all of it is allocated, whether it lies over parents."""

    format: ImageFormat
    fixed: bool = False
    differencing: bool = False

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Bytes of a block that small disks of this kind are made with."""
        return (MIB, 2 * MIB, 4 * MIB) if self.format is ImageFormat.VHDX else (MIB // 2, MIB, 2 * MIB)

    @property
    def sector_sizes(self) -> tuple[int, ...]:
        return (512, 4096) if self.format is ImageFormat.VHDX else (512,)


KINDS = {
    "vhdx-fixed": Kind(ImageFormat.VHDX, fixed=True),
    "vhdx-dynamic": Kind(ImageFormat.VHDX),
    "vhdx-differencing": Kind(ImageFormat.VHDX, differencing=True),
    "vhd-fixed": Kind(ImageFormat.VHD, fixed=True),
    "vhd-dynamic": Kind(ImageFormat.VHD),
    "vhd-differencing": Kind(ImageFormat.VHD, differencing=True),
}


@dataclass(frozen=True, slots=True)
class Habits:
    """What a history keeps to, so that a reader with known faults can be trusted with its outcome."""

    grain: int = 1  # offsets and lengths are multiples of it
    zeroing: bool = True  # zero and discard
    sector_sizes: tuple[int, ...] | None = None
    bitmap_in_every_chunk: bool = False
    steps: int = 14


ANY = Habits()


def random_disk(files: FileSystem, kind: Kind, seed: int, habits: Habits = ANY) -> Disk:
    """A disk with a random shape and history, closed; of *kind* from the leaf down."""
    chance = random.Random(f"{kind}{seed}")
    sector = chance.choice(habits.sector_sizes or kind.sector_sizes)
    grain = max(sector, habits.grain)
    size = chance.randrange(1, 8 * MIB // grain) * grain
    block = chance.choice(kind.block_sizes)
    options = CreateOptions(
        format=kind.format, fixed=kind.fixed, block_size=block, logical_sector_size=sector
    )
    disk = Disk.shaped(files, size, options)
    for layer in range(chance.randrange(1, 4) if kind.differencing else 0):
        _history(disk, chance, habits, layer, habits.steps // 2)
        disk.snapshot()
        if habits.bitmap_in_every_chunk:
            disk.write(0, pattern(seed + layer, grain))
    _history(disk, chance, habits, 9, habits.steps)
    disk.close()
    return disk


def _history(disk: Disk, chance: random.Random, habits: Habits, layer: int, steps: int) -> None:
    for number in range(steps):
        grain = habits.grain
        length = chance.choice([512, 700, 4096, 5 * 512, MIB // 2, MIB, 2 * MIB + 512])
        length = max(min(length, disk.size) // grain * grain, grain)
        offset = chance.randrange((disk.size - length) // grain + 1) * grain
        what = chance.choice(["write"] * 4 + ["zero", "discard", "flush", "reopen", "zeros"])
        if what in ("zero", "discard") and not habits.zeroing:
            what = "write"
        match what:
            case "write":
                disk.write(offset, pattern(layer * 1000 + number + 1, length))
            case "zeros":
                disk.write(offset, bytes(length))
            case "zero":
                disk.zero(offset, length)
            case "discard":
                disk.discard(offset, length)
            case "flush":
                disk.open.flush()
            case "reopen":
                disk.close()
