"""One thing wrong anywhere in the metadata: the image opens or is refused, and what is written hurts nothing else.

Three small images are the start: a dynamic one, a differencing one, and one whose last changes are in the log alone.
"""

import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.format.raw import MIB, PAGE, sealed
from tests.image import forge
from tests.image.forge import HEADERS, REGION_TABLES, Forge, disk, writer
from tests.support.choice import examples
from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.chain.chain import Chain
from vhdx.errors import Error
from vhdx.extents import Presence, Range

EXPECTED = (Error, FileNotFoundError)
SIZE = 6 * MIB
LOG, METADATA, BAT = MIB, 2 * MIB, 3 * MIB


def dynamic() -> MemoryFileSystem:
    files = MemoryFileSystem()
    forge.create(files, SIZE)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB + 5000))
        chain.write(5 * MIB, pattern(2, MIB))
        chain.flush()
        chain.zero(MIB, MIB)
    return files


def differencing() -> MemoryFileSystem:
    files = MemoryFileSystem()
    forge.create(files, SIZE, "base.vhdx")
    with disk(files, "base.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 5 * MIB))
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    with disk(files, writable=1) as chain:
        chain.write(512, pattern(2, 3000))
        chain.write(4 * MIB + 512, pattern(3, 512))
        chain.zero(2 * MIB, 2 * MIB)
    return files


def dirty() -> MemoryFileSystem:
    files = differencing()
    image = writer(files, start=600)
    for number in range(3):
        with image.allocate([Range(number * MIB + 8192, 4096)]) as places:
            for place in places:
                assert place.file_offset is not None
                image.storage.write([(place.file_offset, pattern(number + 9, place.length))])
        image.flush()
    image.abandon()
    assert Forge(files).spoil_logged_pages()
    return files


STARTS: dict[str, dict[str, Pages]] = {make.__name__: make().snapshot() for make in (dynamic, differencing, dirty)}

numbers = st.sampled_from([*range(9), 0xFF, 0x1000, 0x10000, *(mib * MIB for mib in range(1, 7))])
entries = st.tuples(st.integers(0, 12), st.integers(0, 7)).map(lambda parts: parts[0] * MIB | parts[1])
absurd = st.sampled_from([(1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63, (1 << 64) - MIB, (1 << 64) - 1])
values = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.tuples(st.one_of(numbers, entries, absurd), st.sampled_from([1, 2, 4, 8])).map(
        lambda pair: (pair[0] & ((1 << 8 * pair[1]) - 1)).to_bytes(pair[1], "little")
    ),
)
Spot = tuple[int, int, int]


def field(start: int, length: int, *, step: int = 4) -> st.SearchStrategy[int]:
    """A place inside a structure, mostly where a field starts."""
    return st.integers(0, (length - 1) // step).map(lambda number: start + number * step) | st.integers(
        start, start + length - 1
    )


headers = st.sampled_from(HEADERS).flatmap(lambda at: st.tuples(st.just(at), st.just(PAGE), field(0, 80)))
regions = st.sampled_from(REGION_TABLES).flatmap(lambda at: st.tuples(st.just(at), st.just(65536), field(0, 112)))
plain = st.one_of(
    field(0, 64),
    field(METADATA, 32 + 6 * 32),
    field(METADATA + 65536, 300),
    field(BAT, 64, step=8),
    st.just(BAT + 2048 * 8),
    field(LOG, 3 * PAGE),
    field(LOG, 128 + 64),
).map(lambda place: (place, 0, 0))
spots: st.SearchStrategy[list[Spot]] = st.one_of(
    headers.map(lambda spot: [spot]),
    # The same in both copies, so that it counts.
    field(0, 80).map(lambda place: [(at, PAGE, place) for at in HEADERS]),
    regions.map(lambda spot: [spot]),
    field(0, 112).map(lambda place: [(at, 65536, place) for at in REGION_TABLES]),
    plain.map(lambda spot: [spot]),
)


def mutated(start: str, spots: list[Spot], data: bytes, *, seal: bool) -> MemoryFileSystem:
    files = MemoryFileSystem({path: pages.copy() for path, pages in STARTS[start].items()})
    made = Forge(files)
    for offset, length, place in spots:
        if length and seal:
            made.change_sealed(offset, length, place, data[: length - place])
        else:
            made.write(offset + place, data)
            if seal and LOG <= offset < LOG + MIB:
                seal_log_entry(made, offset)
    return files


def seal_log_entry(made: Forge, place: int) -> None:
    """Repair the checksum of the log entry around *place*, whatever length it claims."""
    for start in range(place // PAGE * PAGE, LOG - PAGE, -PAGE):
        if made.read(start, 4) == b"loge":
            length = made.number(start + 8, 4)
            if PAGE <= length <= MIB - (start - LOG):
                made.write(start, sealed(made.read(start, length)))
            return


def content(chain: Chain) -> bytes | None:
    """All of the disk where it is small; of a large one, what lies where is still gone through."""
    if chain.size <= 16 * MIB:
        return chain.read(0, chain.size)
    data = [found for found in chain.extents(0, chain.size) if found.extent.presence is Presence.DATA]
    for found in data[:100]:
        chain.read(found.extent.offset, min(found.extent.length, MIB))
    return None


def seen(files: MemoryFileSystem) -> bytes | None:
    try:
        with disk(files) as chain:
            return content(chain)
    except EXPECTED:
        return None


def change_and_compare(
    files: MemoryFileSystem, change: Callable[[Chain, bytearray], None], before: bytes | None
) -> None:
    """A change that is accepted is there afterwards, and all else is as it was seen before."""
    chain = None
    try:
        chain = disk(files, writable=1)
        expected = bytearray(before) if before is not None else bytearray(chain.size if chain.size <= 16 * MIB else 0)
        change(chain, expected)
        chain.close()
    except EXPECTED:
        if chain is not None:
            with contextlib.suppress(*EXPECTED):
                chain.close()
        return
    with disk(files) as again:
        if before is not None:
            assert again.read(0, again.size) == expected


def write(chain: Chain, expected: bytearray) -> None:
    for offset, length in ((4096, 700), (2 * MIB - 300, 3000), (4 * MIB, MIB)):
        if offset + length <= chain.size:
            chain.write(offset, pattern(77, length))
            expected[offset : offset + length] = pattern(77, length)
            chain.flush()


def clear(chain: Chain, expected: bytearray) -> None:
    length = min(chain.size, 5 * MIB) - 1000
    if length > 0:
        chain.zero(500, length)
        expected[500 : 500 + length] = bytes(length)


def shrink_and_grow(chain: Chain, expected: bytearray) -> None:
    size = 3 * MIB + 512
    if size >= chain.size or chain.size > 16 * MIB:
        return
    chain.leaf.resize(size)
    below = chain.images[1].info.virtual_size if len(chain.layers) > 1 else 0
    chain.leaf.resize(8 * MIB, below=below)
    expected[size:] = bytes(8 * MIB - size)
    write(chain, expected)


@pytest.mark.parametrize("start", STARTS)
@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spots, values, st.sampled_from([True, True, False]), st.sampled_from([write, clear, shrink_and_grow]))
def test_one_field_wrong(
    start: str, spots: list[Spot], data: bytes, seal: bool, change: Callable[[Chain, bytearray], None]
) -> None:
    files = mutated(start, spots, data, seal=seal)
    stored = files.snapshot()["disk.vhdx"].fingerprint()
    with contextlib.suppress(*EXPECTED):
        forge.engine().info(files, "disk.vhdx")
    before = seen(files)
    assert files.snapshot()["disk.vhdx"].fingerprint() == stored, "reading left the file as it was"
    change_and_compare(files, change, before)


@pytest.mark.parametrize("start", STARTS)
@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 12 * 8), st.integers(0, 8))
def test_a_file_cut_off(start: str, eighths: int, extra: int) -> None:
    files = mutated(start, [], b"", seal=False)
    made = Forge(files)
    made.truncate(max(min(eighths * (MIB // 8) + extra, made.size), 0))
    before = seen(files)
    change_and_compare(files, write, before)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(("change", "indexes"), [(write, (0, 1, 2048)), (shrink_and_grow, (1, 5))])
def test_an_entry_of_the_table_may_say_anything(
    start: str, change: Callable[[Chain, bytearray], None], indexes: tuple[int, ...]
) -> None:
    places = [struct.pack("<Q", mib * MIB | state) for mib in (0, 3, 4, 5, 50) for state in range(8)]
    for index in indexes:
        for data in places:
            files = mutated(start, [(BAT + index * 8, 0, 0)], data, seal=False)
            change_and_compare(files, change, seen(files))


def test_the_starts_are_what_they_are_meant_to_be() -> None:
    for start in STARTS:
        files = mutated(start, [], b"", seal=False)
        before = seen(files)
        assert before is not None
        assert before[4096:4200] != bytes(104)
        change_and_compare(files, shrink_and_grow, before)
        assert seen(files) is not None
