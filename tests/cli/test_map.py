"""``vhdx-inspect map``: what qemu-img says of a VHD, and what an oracle that reads the tables says of a VHDX."""

import json
import random
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli import gallery
from tests.cli.conftest import Golden, general
from tests.cli.running import Programs
from tests.image.forge import Forge
from tests.interop.tools import needs_qemu, qemu_img, qemu_io
from tests.support.disks import MIB, Disk, pattern
from tests.support.kinds import KINDS, random_disk
from vhdx.cli.looking.map import joined, mapped
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

KEYS = ["start", "length", "depth", "present", "zero", "data"]
PLACE = ["offset", "filename"]
SEEDS = [range(5), pytest.param(range(5, 25), marks=pytest.mark.more)]
Records = list[dict[str, Any]]


def said(directory: Path, path: str) -> Records:
    """What the command prints as JSON, without the process around it."""
    with NativeEngine().open_chain(LocalFileSystem(directory), path) as chain:
        found = [dict(zip([*KEYS, "offset"], one, strict=True)) for one in joined(mapped(chain))]
    return [{key: value for key, value in one.items() if value is not None} for one in found]


def merged(records: Iterable[dict[str, Any]]) -> Records:
    """Neighbours that say the same made one, and the file's name left out."""
    result: Records = []
    for one in records:
        last = result[-1] if result else {}
        if last and all(last[key] == one[key] for key in KEYS[2:]) and follows(last, one):
            last["length"] += one["length"]
        else:
            result.append({key: one[key] for key in [*KEYS, "offset"] if key in one})
    return result


def follows(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if "offset" not in one or "offset" not in other:
        return ("offset" in one) == ("offset" in other)
    return bool(one["offset"] + one["length"] == other["offset"])


# --- VHD, held against qemu-img --------------------------------------------------------------------------------------


def by_qemu(path: Path) -> Records:
    return merged(json.loads(qemu_img("map", "-f", "vpc", "--output=json", path)))


@needs_qemu
@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("kind", ["vhd-dynamic", "vhd-fixed"])
def test_random_vhds_of_ours(kind: str, seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        directory = tmp_path / str(seed)
        directory.mkdir()
        disk = random_disk(LocalFileSystem(directory), KINDS[kind], 1000 + seed)
        path = disk.paths[0]
        assert said(directory, path) == by_qemu(directory / path), f"{kind}, seed {seed}"
        shutil.rmtree(directory)


@needs_qemu
@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
def test_random_vhds_of_qemu(subformat: str, seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        chance = random.Random(f"{subformat}{seed}")
        path = tmp_path / f"{seed}.vhd"
        size = chance.randrange(1, 12 * MIB // 512) * 512
        options = f"subformat={subformat},force_size=on"
        qemu_img("create", "-q", "-f", "vpc", "-o", options, path, size)
        qemu_io(path, *writes(chance, size), format="vpc")
        assert said(tmp_path, path.name) == by_qemu(path), f"{subformat}, seed {seed}"
        path.unlink()


def writes(chance: random.Random, size: int) -> Iterator[str]:
    for _ in range(chance.randrange(6)):
        length = min(chance.choice([512, 4096, MIB, 2 * MIB, 3 * MIB + 512]), size)
        offset = chance.randrange((size - length) // 512 + 1) * 512
        yield f"write -q -P {chance.choice([0, 7, 255])} {offset} {length}"
    yield "flush"


@needs_qemu
@pytest.mark.parametrize("name", ["dynamic.vhd", "fixed.vhd"])
def test_the_script_says_it_too(name: str, looking: Programs) -> None:
    found = looking.inspect("map", name, "--json").json
    assert [without_name(one) for one in found] == said(looking.here, name)
    assert merged(found) == by_qemu(looking.here / name)
    assert {one["filename"] for one in found if "offset" in one} <= {str(looking.here / name)}


@needs_qemu
def test_a_raw_disk(looking: Programs) -> None:
    found = looking.inspect("map", gallery.RAW, "-f", "raw", "--json").json
    theirs = json.loads(qemu_img("map", "-f", "raw", "--output=json", looking.here / gallery.RAW))
    assert merged(found) == merged(theirs)


def without_name(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != "filename"}


# --- VHDX, held against its tables -----------------------------------------------------------------------------------


ABSENT, PRESENT, PARTIAL = 0, 6, 7


def by_tables(directory: Path, paths: list[str]) -> Records:
    """The map, sector by sector from the tables in the files, by [MS-VHDX] alone."""
    forges = [Forge(LocalFileSystem(directory), path) for path in paths]
    size, _, sector = gallery.sectors_of(forges[0])
    layers = [Layer(forge) for forge in forges]
    return merged(one_sector(layers, offset, min(sector, size - offset)) for offset in range(0, size, sector))


class Layer:
    """The tables of one file."""

    def __init__(self, forge: Forge) -> None:
        _, self.block, self.sector = gallery.sectors_of(forge)
        self.ratio = (1 << 23) * self.sector // self.block
        table, length = forge.region(gallery.BAT)
        self.table = forge.read(table, length)
        self.forge = forge
        self.bitmaps: dict[int, bytes] = {}

    def entry(self, index: int) -> tuple[int, int]:
        raw = int.from_bytes(self.table[8 * index : 8 * index + 8], "little")
        return raw & 7, raw >> 20 << 20

    def bit(self, offset: int) -> bool:
        chunk, rest = divmod(offset, self.ratio * self.block)
        if chunk not in self.bitmaps:
            state, place = self.entry((chunk + 1) * (self.ratio + 1) - 1)
            assert state == PRESENT
            self.bitmaps[chunk] = self.forge.read(place, MIB)
        number = rest // self.sector
        return bool(self.bitmaps[chunk][number // 8] >> number % 8 & 1)

    def at(self, offset: int) -> tuple[str, int]:
        """Whether the layer has the sector as ``data``, as ``zero``, or ``not``, and where."""
        number, inside = divmod(offset, self.block)
        state, place = self.entry(number + number // self.ratio)
        if state == PRESENT or (state == PARTIAL and self.bit(offset)):
            return "data", place + inside
        return ("not" if state in (ABSENT, PARTIAL) else "zero"), 0


def one_sector(layers: list[Layer], offset: int, length: int) -> dict[str, Any]:
    one: dict[str, Any] = {"start": offset, "length": length}
    for depth, layer in enumerate(layers):
        what, place = layer.at(offset)
        if what == "data":
            return one | {"depth": depth, "present": True, "zero": False, "data": True, "offset": place}
        if what == "zero":
            return one | {"depth": depth, "present": True, "zero": True, "data": False}
    return one | {"depth": len(layers) - 1, "present": False, "zero": True, "data": False}


@pytest.mark.parametrize("kind", ["vhdx-dynamic", "vhdx-fixed", "vhdx-differencing"])
def test_random_vhdx(kind: str, tmp_path: Path) -> None:
    for seed in range(8):
        directory = tmp_path / str(seed)
        directory.mkdir()
        disk = random_disk(LocalFileSystem(directory), KINDS[kind], 2000 + seed)
        found = said(directory, disk.paths[0])
        assert found == by_tables(directory, disk.paths), f"{kind}, seed {seed}"
        bytes_are_there(directory, disk, found)
        shutil.rmtree(directory)


def bytes_are_there(directory: Path, disk: Disk, found: Records) -> None:
    """Whoever goes by the map reads the disk."""
    end = 0
    with ExitStack() as stack:
        files = [stack.enter_context((directory / path).open("rb")) for path in disk.paths]
        for one in found:
            assert one["start"] == end
            end += one["length"]
            content = bytes(disk.contents[0][one["start"] : end])
            if not one["data"]:
                assert not any(content)
                continue
            file = files[one["depth"]]
            file.seek(one["offset"])
            assert file.read(one["length"]) == content
    assert end == disk.size


def test_a_differencing_vhd(tmp_path: Path) -> None:
    """qemu-img cannot open these; the bytes have to be where the map says."""
    for seed in range(8):
        directory = tmp_path / str(seed)
        directory.mkdir()
        disk = random_disk(LocalFileSystem(directory), KINDS["vhd-differencing"], 3000 + seed)
        bytes_are_there(directory, disk, said(directory, disk.paths[0]))
        shutil.rmtree(directory)


def test_three_layers_by_hand(programs: Programs) -> None:
    engine, files = NativeEngine(), LocalFileSystem(programs.here)
    engine.create(files, "0.vhdx", 4 * MIB, CreateOptions(format=ImageFormat.VHDX, block_size=MIB))
    with engine.open_chain(files, "0.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
    engine.create_child(files, "1.vhdx", "0.vhdx")
    with engine.open_chain(files, "1.vhdx", writable=1) as chain:
        chain.write(4096, pattern(2, 512))
    engine.create_child(files, "2.vhdx", "1.vhdx")
    with engine.open_chain(files, "2.vhdx", writable=1) as chain:
        chain.write(3 * MIB, pattern(3, 512))
    found = programs.inspect("map", "2.vhdx", "--json").json
    shown = [(one["start"], one["length"], one["depth"], one["present"], one["data"]) for one in found]
    assert shown == [
        (0, 4096, 2, True, True),
        (4096, 512, 1, True, True),
        (4608, 2 * MIB - 4608, 2, True, True),
        (2 * MIB, MIB, 2, False, False),
        (3 * MIB, 512, 0, True, True),
        (3 * MIB + 512, MIB - 512, 2, False, False),
    ]
    base, middle, leaf = (str(programs.here / f"{number}.vhdx") for number in range(3))
    assert [one.get("filename") for one in found] == [base, middle, base, None, leaf, None]


# --- what is printed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["leaf.vhdx", "fixed.vhdx", "child.vhd", "dynamic.vhd"])
def test_the_text(name: str, looking: Programs, golden: Golden) -> None:
    golden(f"map-{name}", general(looking.inspect("map", name).out, looking.here))


def test_the_keys_and_their_order(looking: Programs) -> None:
    for one in looking.inspect("map", "leaf.vhdx", "--json").json:
        assert list(one) == [*KEYS, *(PLACE if one["data"] else [])]


def test_one_layer(looking: Programs) -> None:
    found = looking.inspect("map", "leaf.vhdx", "--layer", "--json").json
    assert {one["depth"] for one in found} == {0}
    data = [(one["start"], one["length"]) for one in found if one["data"]]
    assert data == [(MIB + 1024, 1024), (5 * MIB, 2048)]


@pytest.mark.parametrize("name", gallery.BROKEN)
def test_one_layer_needs_no_parent(name: str, looking: Programs) -> None:
    """What is in the file itself can be looked at without what it lies over."""
    looking.inspect("map", name, code=2)
    assert looking.inspect("map", name, "--layer", "--json").json


def test_a_large_disk_is_one_line(programs: Programs) -> None:
    programs.img("create", "huge.vhdx", "64T", "--block-size", "256M")
    (one,) = programs.inspect("map", "huge.vhdx", "--json").json
    assert (one["length"], one["present"]) == (64 << 40, False)
