"""BAT geometry against counting by hand, and the rules for single entries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format import bat
from vhdx.format.bat import BatLayout

MIB = 1 << 20
layouts = st.builds(
    BatLayout,
    virtual_size=st.integers(1, 64 << 40 >> 12).map(lambda pages: pages << 12),
    block_size=st.integers(0, 8).map(lambda power: MIB << power),
    logical_sector_size=st.sampled_from([512, 4096]),
    has_parent=st.booleans(),
)
MANY = st.integers(0, (1 << 64) - 1)


@pytest.mark.parametrize(
    ("block_mib", "sector", "ratio"),
    [(1, 512, 4096), (2, 512, 2048), (32, 512, 128), (256, 512, 16), (1, 4096, 32768), (256, 4096, 128)],
)
def test_chunk_ratios(block_mib: int, sector: int, ratio: int) -> None:
    layout = BatLayout(MIB, block_mib * MIB, sector, has_parent=False)
    assert layout.chunk_ratio == ratio
    assert layout.bitmap_bytes * 8 * sector == layout.block_size, "one bit for each sector"


@pytest.mark.parametrize("has_parent", [False, True])
@pytest.mark.parametrize("blocks", [1, 15, 16, 17, 31, 32, 33, 48, 49])
def test_entries_in_order_are_each_payload_blocks_or_a_bitmaps(blocks: int, has_parent: bool) -> None:
    layout = BatLayout(blocks * 256 * MIB - 512, 256 * MIB, 512, has_parent)
    order: list[tuple[str, int]] = []
    for block in range(blocks):
        order.append(("payload", block))
        if block % 16 == 15:
            order.append(("bitmap", block // 16))
    if has_parent:
        while order[-1] != ("bitmap", (blocks - 1) // 16):
            order.append(("padding", 0) if len(order) % 17 != 16 else ("bitmap", (blocks - 1) // 16))
    elif order[-1][0] == "bitmap":
        order.pop()
    assert layout.entries == len(order)
    for index, (kind, number) in enumerate(order):
        if kind == "payload":
            assert layout.payload_index(number) == index
        elif kind == "bitmap":
            assert layout.bitmap_index(number) == index


@given(layouts)
def test_the_last_entries_are_inside_the_table(layout: BatLayout) -> None:
    assert layout.payload_index(layout.payload_blocks - 1) < layout.entries <= layout.reserved_entries
    assert layout.reserved_entries == layout.bitmap_index(layout.chunks - 1) + 1
    if layout.has_parent:
        assert layout.entries == layout.reserved_entries
    else:
        assert layout.entries == layout.payload_index(layout.payload_blocks - 1) + 1
    assert layout.reserved_entries * 8 <= 513 * MIB


@given(layouts, st.integers(0, 1 << 30))
def test_bits_of_a_chunks_blocks_fill_its_bitmap_side_by_side(layout: BatLayout, number: int) -> None:
    block = number % layout.payload_blocks
    place = layout.bitmap_place(block)
    assert place + layout.bitmap_bytes <= MIB
    assert place == (block - layout.chunk_of(block) * layout.chunk_ratio) * layout.bitmap_bytes


@given(st.integers(0, 7), st.integers(0, (1 << 44) - 1))
def test_entries_hold_state_and_place(state: int, mib: int) -> None:
    raw = bat.entry(state, mib * MIB)
    assert (bat.state(raw), bat.file_offset(raw)) == (state, mib * MIB)
    assert raw == mib << 20 | state


@given(MANY, st.booleans())
def test_payload_entries_are_refused_by_the_table_of_the_specification(raw: int, has_parent: bool) -> None:
    state, place, reserved = raw & 7, raw >> 20, raw & 0xFFFF8
    wrong = (
        reserved
        or state in (4, 5)
        or (state == 7 and not has_parent)
        or (state in (6, 7) and not place)
        or (state == 2 and place)
    )
    assert bool(bat.payload_fault(raw, has_parent=has_parent)) == bool(wrong)


@given(st.integers(0, 7), st.integers(0, 3), st.booleans())
def test_small_payload_entries(state: int, mib: int, has_parent: bool) -> None:
    sound = (
        state in (0, 1, 3) or (state == 2 and not mib) or (state == 6 and mib) or (state == 7 and has_parent and mib)
    )
    assert bool(sound) is not bool(bat.payload_fault(mib << 20 | state, has_parent=has_parent))


@given(MANY)
def test_bitmap_entries_are_absent_or_present(raw: int) -> None:
    state, place, reserved = raw & 7, raw >> 20, raw & 0xFFFF8
    assert bool(bat.bitmap_fault(raw)) == bool(reserved or state not in (0, 6) or (state == 6 and not place))


def test_a_region_too_small_for_the_table_is_refused() -> None:
    layout = BatLayout(131073 * MIB, MIB, 512, has_parent=False)
    bat.verify_region(layout, Range(3 * MIB, 2 * MIB))
    with pytest.raises(FormatError, match="entries") as caught:
        bat.verify_region(layout, Range(3 * MIB, MIB))
    assert (caught.value.structure, caught.value.offset) == ("BAT", 3 * MIB)


def test_a_fault_names_the_entrys_place() -> None:
    error = bat.fault(7, Range(3 * MIB, MIB), "is wrong")
    assert error.offset == 3 * MIB + 56
