"""Small file systems of their own, mounted from a file; needs root and loop devices."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"],
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
    "ntfs": ["mkntfs", "-F", "-Q", "-q"],
}
_MOUNT = {"ntfs": ["ntfs-3g"]}


class CannotMountError(Exception):
    """Why there is no such file system here."""


@contextmanager
def mounted(kind: str, size: int, place: Path) -> Iterator[Path]:
    """A fresh file system of *size* bytes, mounted below *place*. Raises CannotMountError."""
    program, *arguments = _MAKE[kind]
    if os.geteuid() != 0:
        raise CannotMountError("mounting needs root")
    mount = _MOUNT.get(kind, ["mount", "-o", "loop"])
    for needed in (program, mount[0]):
        if shutil.which(needed, path=_PATH) is None:
            raise CannotMountError(f"{needed} not found")
    image, point = place / f"{kind}.img", place / kind
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    for command in ([program, *arguments, str(image)], [*mount, str(image), str(point)]):
        done = subprocess.run(command, env={**os.environ, "PATH": _PATH}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotMountError(f"{command[0]}: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=False)
