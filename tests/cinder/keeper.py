"""Ends all processes of a work directory when whoever started them is gone, or after so many seconds.

Run as a process of its own, whose input is a pipe that the starter holds: however the starter ends, the pipe ends.
"""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cinder.environments import PROJECT
from tests.cinder.processes import MARK, end_all


@contextmanager
def kept(records: Path, mark: str, seconds: float) -> Iterator[None]:
    """Let a keeper watch; at the end it has ended everything."""
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.cinder.keeper", str(records), str(seconds)],
        cwd=PROJECT,
        env={**os.environ, MARK: mark},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait()


def main() -> None:
    """Wait for the end of the input or of the time."""
    records, seconds = Path(sys.argv[1]), float(sys.argv[2])
    gone, _, _ = select.select([sys.stdin], [], [], seconds)
    if not gone:
        print(f"{seconds:.0f} seconds are over: everything in {records} is ended", flush=True)
    end_all(records, os.environ[MARK])


if __name__ == "__main__":
    main()
