"""Images of one known content in every format, made by qemu-img."""

import random
import subprocess
from pathlib import Path

from tests.cinder.infrastructure import SYSTEM_PATH
from tests.cinder.rest import Rest

FORMATS = {"raw": "raw", "qcow2": "qcow2", "vhd": "vpc", "vhdx": "vhdx"}
"""The formats as Glance names them, and as QEMU does."""

OFFSET = 1 << 20
DATA = random.Random(1).randbytes(3 << 20)
"""What the images hold at OFFSET; everything else is zeros."""


def make(directory: Path, format: str, size: int) -> Path:
    """An image of *size* bytes."""
    raw = directory / "image.raw"
    with raw.open("wb") as file:
        file.seek(OFFSET)
        file.write(DATA)
        file.truncate(size)
    return raw if format == "raw" else convert(raw, "raw", format)


def convert(path: Path, source: str, target: str) -> Path:
    """The image in another format, beside it."""
    made = path.with_suffix(f".{target}")
    # For this format QEMU otherwise rounds the size to a geometry.
    exact = ["-o", "force_size=on"] if target == "vhd" else []
    command = ["qemu-img", "convert", "-f", FORMATS[source], "-O", FORMATS[target], *exact, str(path), str(made)]
    subprocess.run(command, env={"PATH": SYSTEM_PATH}, check=True, capture_output=True)
    return made


def upload(rest: Rest, path: Path, format: str, *, visibility: str = "private") -> str:
    """An image in Glance, by its id."""
    body = {
        "name": f"sample-{format}",
        "disk_format": format,
        "container_format": "bare",
        "visibility": visibility,
    }
    image: str = rest.image("POST", "/images", body)["id"]
    rest.upload(image, path.read_bytes())
    return image
