"""Absurd sizes in files that are long enough for them: neither memory nor time goes by what an image claims.

In a process of its own whose memory and processor time are limited, so that what takes too much ends.
"""

import os
import subprocess
import sys

import pytest

from tests.fuzz import starved

MEMORY = 700 << 20
SECONDS = 120


@pytest.mark.more
def test_absurd_sizes_with_little_memory() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("limits of a process are set as Linux has them")
    command = [sys.executable, "-m", starved.__name__, str(MEMORY), str(SECONDS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert int(ended.stdout) > 100
