"""Runs tests with a Python for Windows under Wine: ``python -m tests.wine DIRECTORY [arguments of pytest]``.

The interpreter is kept in DIRECTORY. Everything of Wine lies in a temporary directory, and its processes have ended
when this ends.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.wine.standin import build as build_standin
from tests.wine.windows_python import build as build_python

ROOT = Path(__file__).parent.parent.parent
WINE = Path("/usr/lib/wine")
"""Where Debian keeps it, which is on no PATH."""
TESTS = [f"tests/virtdisk/{name}.py" for name in ("test_layout", "test_arguments", "test_calls")]
SECONDS = 1200
"""After which a program is ended."""



def main(directory: Path, arguments: Sequence[str]) -> int:
    """What pytest returned."""
    python = build_python(directory.absolute())
    with tempfile.TemporaryDirectory(prefix="wine-") as home:
        environment = {
            **os.environ,
            "HOME": home,
            "TMPDIR": home,
            "WINEPREFIX": str(Path(home, "prefix")),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=",
            "VHDX_STANDIN": windows(build_standin(Path(home))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": "",
        }
        try:
            wine(environment, "wineboot", "-i")
            options = ["--noconftest", "-p", "no:cacheprovider", "-c", "NUL", "--rootdir", windows(ROOT)]
            return wine(environment, str(python), "-X", "utf8", "-m", "pytest", "-q", *options, *(arguments or TESTS))
        finally:
            for how in ("-k", "-w"):
                subprocess.run([WINE / "wineserver64", how], env=environment, check=False, timeout=60)


def windows(path: Path) -> str:
    """A path as programs see it under Wine."""
    return "Z:" + str(path.absolute()).replace("/", "\\")


def wine(environment: dict[str, str], *command: str) -> int:
    """Run a program for Windows and pass on what it says: Python there can write to pipes only, not to files."""
    with subprocess.Popen(
        [WINE / "wine64", *command], env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        limit = threading.Timer(SECONDS, process.kill)
        limit.start()
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
            return process.wait()
        finally:
            limit.cancel()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
