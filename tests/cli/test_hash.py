"""``vhdx-inspect hash``: the SHA-256 of what a guest sees."""

import hashlib
from pathlib import Path

import pytest

from tests.cli import gallery
from tests.cli.running import Programs
from tests.interop import golden
from tests.support.disks import MIB
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

KNOWN = golden.manifest()
GIB = 1 << 30


def content(directory: Path, name: str) -> bytes:
    with NativeEngine().open_chain(LocalFileSystem(directory), name) as chain:
        return chain.read(0, chain.size)


@pytest.mark.parametrize("name", gallery.SOUND)
def test_it_is_that_of_the_disk(name: str, looking: Programs) -> None:
    data = content(looking.here, name)
    digest = hashlib.sha256(data).hexdigest()
    assert looking.inspect("hash", name).out == f"{digest}  {looking.here / name}\n"
    assert looking.inspect("hash", name, "--sparse", "--json").json == {
        "path": str(looking.here / name),
        "algorithm": "sparse-sha256",
        "digest": sparse(data),
        "virtual_size": len(data),
    }


def sparse(data: bytes) -> str:
    """The algorithm of the manifest, on bytes."""
    digest = hashlib.sha256()
    for offset in range(0, len(data), MIB):
        piece = data[offset : offset + MIB]
        if any(piece):
            digest.update(offset.to_bytes(8, "little") + piece)
    return digest.hexdigest()


def test_a_raw_disk(looking: Programs) -> None:
    data = (looking.here / gallery.RAW).read_bytes()
    found = looking.inspect("hash", gallery.RAW, "-f", "raw", "--json").json
    assert (found["digest"], found["algorithm"]) == (hashlib.sha256(data).hexdigest(), "sha256")
    assert looking.inspect("hash", gallery.RAW, "-f", "raw", "--sparse").out.split()[0] == sparse(data)


def test_the_format_does_not_matter(programs: Programs, looking: Programs) -> None:
    digests = set()
    for name in ("a.raw", "a.vhd", "a.vhdx"):
        programs.img("convert", looking.here / "leaf.vhdx", name)
        digests.add(programs.inspect("hash", name, "-f", name[2:]).out.split()[0])
    assert digests == {hashlib.sha256(content(looking.here, "leaf.vhdx")).hexdigest()}


@pytest.mark.parametrize("name", gallery.BROKEN)
def test_a_disk_without_its_parent(name: str, looking: Programs) -> None:
    looking.inspect("hash", name, code=2)


def test_sparse_takes_no_time_for_holes(programs: Programs) -> None:
    programs.img("create", "huge.vhdx", "60T")
    programs.img("write", "huge.vhdx", "59T", stdin=b"x")
    expected = hashlib.sha256((59 << 40).to_bytes(8, "little") + b"x".ljust(MIB, b"\0")).hexdigest()
    assert programs.inspect("hash", "huge.vhdx", "--sparse").out.split()[0] == expected


@pytest.mark.skipif(not KNOWN, reason=f"no golden images in {golden.DIRECTORY} (VHDX_GOLDEN says where)")
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_golden_images(name: str, programs: Programs) -> None:
    known = KNOWN[name]
    expected = known["after_replay_by_qemu"] if known["dirty"] else known["readers"]["qemu"]
    path = golden.unpack(name, programs.here)
    assert programs.inspect("hash", path, "--sparse").out.split()[0] == expected["sparse_sha256"]
    if known["guest_size"] <= GIB and "sha256" in expected:
        assert programs.inspect("hash", path).out.split()[0] == expected["sha256"]
