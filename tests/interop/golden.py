"""Images that other software wrote, where they are kept: beside the repository or where VHDX_GOLDEN says."""

import bz2
import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vhdx.chain.chain import Chain
from vhdx.extents import Presence, spans

MIB = 1 << 20
DIRECTORY = Path(os.environ.get("VHDX_GOLDEN") or Path(__file__).resolve().parents[3] / "shared" / "golden")


def manifest() -> dict[str, dict[str, Any]]:
    """What is known of each VHDX, by file name; empty where there are none."""
    try:
        entries = json.loads((DIRECTORY / "manifest.json").read_text())
    except FileNotFoundError:
        return {}
    return {entry["file"]: entry for entry in entries if entry["kind"].startswith("VHDX")}


def unpack(name: str, directory: Path) -> str:
    """Decompress an image into *directory*, zeros as holes; its name there."""
    packed = DIRECTORY / name
    opener = gzip.open if packed.suffix == ".gz" else bz2.open
    target = directory / packed.stem
    with opener(packed, "rb") as source, target.open("wb") as file:
        size = 0
        while chunk := source.read(MIB):
            if chunk.count(0) != len(chunk):
                file.seek(size)
                file.write(chunk)
            size += len(chunk)
        file.truncate(size)
    return target.name


def filled_chunks(chain: Chain) -> Iterator[int]:
    """The numbers of the MiB of a disk that data touches, ascending."""
    last = -1
    for _, extent in chain.extents(0, chain.size):
        if extent.presence is Presence.DATA:
            for span in spans(extent.offset, extent.length, MIB):
                if span.number > last:
                    yield span.number
                    last = span.number


def sparse_sha256(chain: Chain) -> str:
    """The manifest's hash: offset (64 bits, little-endian) and bytes of every MiB that is not all zeros."""
    digest = hashlib.sha256()
    for number in filled_chunks(chain):
        offset = number * MIB
        data = chain.read(offset, min(MIB, chain.size - offset))
        if data.count(0) != len(data):
            digest.update(offset.to_bytes(8, "little") + data)
    return digest.hexdigest()
