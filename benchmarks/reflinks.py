"""Converting and merging on a file system that can share blocks: an XFS of its own, mounted from a file."""

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import converting, merging
from benchmarks.measuring import Case
from tests.support.mounts import CannotMountError, mounted

FLOOR = 0.2


def cases(directory: Path, size: int) -> Iterator[Case]:
    """What is aligned to the file system's blocks is shared, not copied."""
    try:
        with mounted("xfs", 16 * size + (1 << 30), directory) as point:
            yield from converting.cases(point, "xfs", size, FLOOR)
            # Sharing 4 KiB takes the file system longer than copying them, so small extents have no floor here.
            yield from merging.cases(point, "xfs", size, dense_floor=FLOOR, sparse_floor=None)
    except CannotMountError as error:
        print(f"reflink: left out, {error}", file=sys.stderr)
