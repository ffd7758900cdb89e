"""The other software of these tests: where it is, and how it is run."""

import shutil
import subprocess
from pathlib import Path

import pytest

QEMU_IMG, QEMU_IO = shutil.which("qemu-img"), shutil.which("qemu-io")

needs_qemu = pytest.mark.skipif(not (QEMU_IMG and QEMU_IO), reason="qemu-img and qemu-io are not installed")


def qemu_img(*arguments: str | Path) -> str:
    """Run qemu-img; what it printed. Fails the test when it fails."""
    assert QEMU_IMG is not None
    return run([QEMU_IMG, *map(str, arguments)])


def qemu_io(path: Path, *commands: str, format: str = "vhdx") -> str:
    """Run commands of qemu-io on an image."""
    assert QEMU_IO is not None
    return run([QEMU_IO, "-f", format, *(part for command in commands for part in ("-c", command)), str(path)])


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def check_clean(path: Path, *, format: str = "vhdx") -> None:
    """qemu-img finds nothing wrong and nothing to repair."""
    assert "No errors were found" in qemu_img("check", "-f", format, path)


def same_as_raw(path: Path, content: bytes, *, format: str = "vhdx") -> None:
    """qemu-img reads *content* from the image at *path*."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(content)
    assert "identical" in qemu_img("compare", "-f", format, "-F", "raw", path, raw)
    raw.unlink()
