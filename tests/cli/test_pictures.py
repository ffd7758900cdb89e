"""The map: its numbers are exact, and every picture of it is well-formed, whatever the names are."""

import io
import re
import sys
from contextlib import closing
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.cli.sample import LEAF, SIZE, three_layers
from tests.support.choice import examples
from tests.support.disks import MIB, Disk, counting_ids
from tests.support.kinds import KINDS, random_disk
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.cli import pictures
from vhdx.cli.pictures.cells import Cell
from vhdx.cli.pictures.layout import percent, ticks
from vhdx.cli.pictures.shapes import FULL
from vhdx.cli.pictures.survey import Counts
from vhdx.extents import Presence, Range, clip
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.verbs.engine import NativeEngine

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "\x1b[31m<script>alert(1)</script>&\"'\0\u202e\udcff\ufffe.vhdx"
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def sample() -> pictures.Survey:
    files = MemoryFileSystem()
    engine = three_layers(files)
    with engine.open_chain(files, LEAF) as chain:
        return pictures.survey(chain, [layer.path for layer in chain.layers])


def slow_counts(chain: Chain, survey: pictures.Survey) -> list[tuple[list[int], list[int], list[int]]]:
    """Held, visible, zero of each layer by asking every column for itself."""
    result = []
    for number, image in enumerate(chain.images):
        held, visible, zero = [], [], []
        for index in range(survey.columns):
            start, length = survey.column(index)
            own = max(min(length, image.virtual_size - start), 0)
            extents = list(image.extents(start, own)) if own else []
            held.append(sum(one.length for one in extents if one.presence is Presence.DATA))
            zero.append(sum(one.length for one in extents if one.presence is Presence.ZERO))
            seen = chain.extents(start, length)
            visible.append(sum(e.length for layer, e in seen if layer == number and e.presence is Presence.DATA))
        result.append((held, visible, zero))
    return result


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=examples(8))
@given(seed=st.integers(0, 10_000), columns=st.integers(1, 200))
def test_every_column_adds_up_to_its_extents(kind: str, seed: int, columns: int) -> None:
    files = MemoryFileSystem()
    disk = random_disk(files, KINDS[kind], seed)
    with disk.engine.open_chain(files, disk.paths[0]) as chain:
        found = pictures.survey(chain, disk.paths, columns)
        # The images count in sectors, which a column may cut.
        if found.width % chain.leaf.logical_sector_size == 0:
            counted = [(list(x.held.columns), list(x.visible.columns), list(x.zero.columns)) for x in found.layers]
            assert counted == slow_counts(chain, found)
        data = sum(e.length for _, e in chain.extents(0, chain.size) if e.presence is Presence.DATA)
    assert found.data == data
    assert found.columns <= columns
    assert sum(found.column(number).length for number in range(found.columns)) == found.size == disk.size
    for layer in found.layers:
        for seen, held in zip(layer.visible.columns, layer.held.columns, strict=True):
            assert seen <= held


@given(st.integers(1, 50), st.integers(1, 9), st.data())
def test_a_range_is_cut_at_the_edges_of_columns(width: int, columns: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, width * columns - 1))
    length = data.draw(st.integers(1, width * columns - start))
    counts = Counts(columns, width)
    counts.add(start, length)
    touched = Range(start, length)
    assert list(counts.columns) == [
        sum(piece.length for piece in clip([touched], number * width, width)) for number in range(columns)
    ]
    assert counts.total == length


def test_layers_of_other_sizes_count_up_to_the_end_of_the_disk() -> None:
    files = MemoryFileSystem()
    disk = Disk.create(files, 8 * MIB)
    disk.write(0, b"x" * (8 * MIB))
    disk.snapshot(4 * MIB)
    disk.snapshot(6 * MIB)
    disk.write(5 * MIB, b"y" * MIB)
    disk.close()
    with disk.engine.open_chain(files, disk.paths[0]) as chain:
        found = pictures.survey(chain, disk.paths, 6)
    leaf, small, base = found.layers
    assert (leaf.held.total, small.held.total, base.held.total) == (MIB, 0, 6 * MIB)
    assert (leaf.end, small.end, base.end) == (6 * MIB, 4 * MIB, 6 * MIB)
    assert base.visible.total == 4 * MIB
    ElementTree.fromstring(pictures.svg(found))


def test_a_disk_of_64_tib_is_only_as_much_work_as_it_has_extents() -> None:
    files = MemoryFileSystem()
    engine = NativeEngine(new_id=counting_ids())
    size = 64 << 40
    engine.create(files, "huge.vhdx", size, CreateOptions(block_size=256 * MIB))
    with engine.open_chain(files, "huge.vhdx", writable=1) as chain:
        chain.write(size - 4096, b"e" * 4096)
        chain.write(size // 2, b"m" * 4096)
    with engine.open_chain(files, "huge.vhdx") as chain:
        found = pictures.survey(chain, ["huge.vhdx"])
    assert [number for number, held in enumerate(found.layers[0].held.columns) if held] == [512, 1023]
    assert found.data == 2 * 256 * MIB
    assert "64 TiB" in pictures.svg(found)


def test_what_is_there_at_all_is_seen() -> None:
    assert Cell(1, 0, 0, 1 << 40).strength() > 0
    assert Cell(0, 0, 0, 1 << 40).strength() == 0
    assert Cell(1 << 40, 0, 0, 1 << 40).strength() == FULL
    assert Cell(1, 1 << 30, 1, 1 << 40).parts(6) == (1, 4, 1)


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(6, 40))
def test_a_bar_is_divided_without_a_rest(visible: int, hidden: int, zero: int, height: int) -> None:
    parts = Cell(visible, hidden, zero, 3 << 40).parts(height)
    assert sum(parts) == (height if visible + hidden + zero else 0)
    assert [part > 0 for part in parts] == [visible > 0, hidden > 0, zero > 0]


@given(st.integers(512, 1 << 60))
def test_offsets_on_the_axis_do_not_crowd(size: int) -> None:
    offsets = ticks(size)
    assert offsets[0] == 0
    assert offsets[-1] == size
    assert len(offsets) <= 10
    gaps = [second - first for first, second in pairwise(offsets)]
    assert min(gaps) * 13 >= size or len(offsets) == 2


def test_only_none_and_all_are_0_and_100_percent() -> None:
    assert [percent(*one) for one in ((0, 9), (9, 9), (0, 0), (1, 1 << 60), ((1 << 60) - 1, 1 << 60))] == [
        "0 %", "100 %", "0 %", "< 0.1 %", "> 99.9 %"
    ]


def test_the_svg_shows_layers_kinds_and_axis(sample: pictures.Survey) -> None:
    root = ElementTree.fromstring(pictures.svg(sample))
    assert root.tag == f"{SVG}svg"
    texts = [one.text or "" for one in root.iter(f"{SVG}text")]
    assert {"tuesday.vhdx", "monday.vhdx", "base.vhdx", "256 MiB"} <= set(texts)
    classes = {one.get("class") for one in root.iter(f"{SVG}path")}
    assert {"visible", "hidden", "zero", "empty"} <= classes
    assert root.get("role") == "img"
    assert "tuesday.vhdx: holds" in (root.get("aria-label") or "")


def test_equal_neighbours_are_one_rectangle() -> None:
    files = MemoryFileSystem()
    disk = Disk.create(files, 64 * MIB)
    disk.write(0, b"x" * (32 * MIB))
    disk.close()
    with disk.engine.open_chain(files, disk.paths[0]) as chain:
        root = ElementTree.fromstring(pictures.svg(pictures.survey(chain, disk.paths)))
    bars = [one.get("d") or "" for one in root.iter(f"{SVG}path") if one.get("class") == "visible"]
    assert sum("h512v30" in bar for bar in bars) == 1


@settings(deadline=None, max_examples=examples(60))
@given(st.text() | st.just(HOSTILE))
def test_pictures_are_well_formed_whatever_the_names_are(name: str) -> None:
    files = MemoryFileSystem()
    disk = Disk.create(files, 4 * MIB)
    disk.close()
    with disk.engine.open_chain(files, disk.paths[0]) as chain:
        found = pictures.survey(chain, [name])
    text = pictures.svg(found)
    ElementTree.fromstring(text)
    text.encode()
    assert "<script" not in text
    for color in (False, True):
        for line in pictures.terminal(found, 80, color=color):
            assert ESCAPE.sub("", line).isprintable()


def test_the_png_is_the_same_picture(sample: pictures.Survey) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    picture = image.open(io.BytesIO(pictures.png(sample)))
    picture.load()
    root = ElementTree.fromstring(pictures.svg(sample))
    assert picture.size == (int(root.get("width") or 0), int(root.get("height") or 0))
    colors = {color for _, color in picture.getcolors(1 << 20)}
    assert {(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0xCC, 0x79, 0xA7), (255, 255, 255)} <= colors


def test_without_pillow_the_extra_is_named(sample: pictures.Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"vhdx\[png\]"):
        pictures.png(sample)


@pytest.mark.parametrize("width", [*range(1, 60), 80, 133, 200])
def test_no_line_is_wider_than_the_terminal(sample: pictures.Survey, width: int) -> None:
    for color in (False, True):
        for unicode in (False, True):
            lines = pictures.terminal(sample, width, color=color, unicode=unicode)
            assert all(cell_len(ESCAPE.sub("", line)) <= width for line in lines)
            assert unicode or "".join(lines).isascii()
            assert color or "\x1b" not in "".join(lines)


def test_a_wide_name_takes_its_room() -> None:
    files = MemoryFileSystem()
    disk = Disk.create(files, 4 * MIB)
    disk.close()
    with disk.engine.open_chain(files, disk.paths[0]) as chain:
        found = pictures.survey(chain, ["磁盘映像" * 20])
    for unicode in (False, True):
        assert all(cell_len(line) <= 70 for line in pictures.terminal(found, 70, color=False, unicode=unicode))


def test_the_terminal_shows_each_kind(sample: pictures.Survey) -> None:
    lines = pictures.terminal(sample, 100, color=False)
    assert sum(".vhdx" in line and "│" in line for line in lines) == 3
    rows = "".join(line for line in lines if "│" in line)
    assert "█" in rows
    assert set("╱╳") & set(rows)
    assert set("·•") & set(rows)
    assert "256 MiB" in "".join(lines)
    assert sample.size == SIZE


@pytest.mark.parametrize("size", [1, 511, 512, 513, 4096 + 100])
def test_odd_sizes_are_drawn(size: int) -> None:
    files = MemoryFileSystem()
    with closing(files.create("disk.raw")) as storage:
        storage.write([(0, b"x" * size)])
    engine = NativeEngine()
    with engine.open_chain(files, "disk.raw", format=ImageFormat.RAW) as chain:
        found = pictures.survey(chain, ["disk.raw"])
    assert found.data == found.size == chain.size
    ElementTree.fromstring(pictures.svg(found))
    assert pictures.terminal(found, 80, color=False)
