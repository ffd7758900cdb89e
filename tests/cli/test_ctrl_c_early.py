"""Ctrl-C while a command is still being loaded: one line, exit code 130, however early it comes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import SECONDS

_SCRIPT = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever was inherited
place, name, *sys.argv = sys.argv[1:]

class Finder:
    def find_spec(self, wanted, path=None, target=None):
        if wanted == place:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
import vhdx.cli.start
getattr(vhdx.cli.start, name)()
"""
PLACES = [
    "vhdx.cli.img", "vhdx.cli.inspect", "click", "vhdx.cli.program", "vhdx.cli.exits", "vhdx.cli.changing.create",
    "vhdx.cli.looking.info", "vhdx.verbs.engine", "vhdx.image.create", "vhdx.image.vhdx.create", "vhdx.image.vhdx.open",
    "vhdx.cli.looking.glance", "google_crc32c", "vhdx.cli.front", "vhdx.version",
]  # fmt: skip

RUNS = [
    ("img", ["create", "a.vhdx", "4M"]), ("inspect", ["info", "-f", "vhdx", "a.vhdx"]), ("inspect", ["info", "a.vhdx"]),
    ("inspect", ["--help"]), ("img", ["--version"]),
]  # fmt: skip
"""Through the engine, and at once."""


@pytest.mark.parametrize("place", PLACES)
def test_while_modules_load(place: str, tmp_path: Path) -> None:
    """Nothing is made, and nothing is said but that it was stopped."""
    came = False
    for program, words in RUNS:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, place, program, f"vhdx-{program}", *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        if "Ctrl-C again" in done.stderr:  # a verb was begun, and is finished
            came = True
            assert done.returncode == 0
        elif done.returncode == 130:
            came = True
            last = done.stderr.strip().splitlines()[-1]
            assert last.startswith(f"vhdx-{program}: ")
            assert "stopped" in last
            assert not list(tmp_path.glob("*.tmp"))
    assert came, f"{place} was not loaded"
