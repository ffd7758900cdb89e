"""The metadata table and its items: bytes, rules, and the disk that they describe."""

import struct
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.format import raw
from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import metadata
from vhdx.format.metadata import DiskMetadata, TableEntry

MIB = 1 << 20
REGION = Range(2 * MIB, MIB)
Row = tuple[UUID, int, int, int, int]
FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
PAGE_83 = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
INCOMPLETE = UUID("71cc85f0-1b69-4e28-9558-c3bf83ae75d3")
CHS = UUID("da02d7bc-3d3a-423c-ac88-2a36ab21479b")
PMEM = UUID("10e1ae8a-4b7e-4169-a40f-cd70de928393")
STRANGE = UUID(int=0x77)
SOUND: list[Row] = [
    (FILE_PARAMETERS, 0x10000, 8, 4, 0),
    (VIRTUAL_DISK_SIZE, 0x10008, 8, 6, 0),
    (LOGICAL, 0x10010, 4, 6, 0),
    (PHYSICAL, 0x10014, 4, 6, 0),
    (PAGE_83, 0x10018, 16, 6, 0),
]
DISK = DiskMetadata(
    block_size=32 * MIB,
    leave_block_allocated=False,
    has_parent=False,
    virtual_size=10 << 30,
    disk_id=UUID(int=0x8311),
    logical_sector_size=512,
    physical_sector_size=4096,
)
disks = st.builds(
    DiskMetadata,
    block_size=st.integers(0, 8).map(lambda power: MIB << power),
    leave_block_allocated=st.booleans(),
    has_parent=st.just(False),
    virtual_size=st.integers(1, 1 << 34).map(lambda pages: pages << 12),
    disk_id=st.uuids(),
    logical_sector_size=st.sampled_from([512, 4096]),
    physical_sector_size=st.sampled_from([512, 4096]),
) | st.builds(
    lambda locator: replace(DISK, has_parent=True, parent_locator=locator), st.binary(min_size=1, max_size=3000)
)


def parsed(*rows: Row, region: Range = REGION) -> list[TableEntry]:
    return metadata.parse_table(raw.metadata_table(*rows), region)


def altered(item: UUID, *, offset: int = -1, length: int = -1, flags: int = -1, reserved: int = 0) -> list[Row]:
    """The sound rows with one changed."""
    return [
        (guid, at if offset < 0 else offset, size if length < 0 else length, flag if flags < 0 else flags, reserved)
        if guid == item
        else (guid, at, size, flag, rest)
        for guid, at, size, flag, rest in SOUND
    ]


def contents(**values: bytes) -> dict[UUID, bytes]:
    items = {
        "parameters": struct.pack("<II", MIB, 0),
        "size": struct.pack("<Q", MIB),
        "logical": struct.pack("<I", 512),
        "physical": struct.pack("<I", 4096),
        "disk_id": UUID(int=3).bytes_le,
    } | values
    names = {
        "parameters": FILE_PARAMETERS,
        "size": VIRTUAL_DISK_SIZE,
        "logical": LOGICAL,
        "physical": PHYSICAL,
        "disk_id": PAGE_83,
        "locator": LOCATOR,
    }
    return {names[name]: value for name, value in items.items()}


@given(disks)
def test_what_is_built_reads_back(disk: DiskMetadata) -> None:
    data = metadata.build(disk)
    items = metadata.system_items(metadata.parse_table(data[: metadata.TABLE_SIZE], REGION))
    found = metadata.decode(
        {guid: data[row.offset : row.offset + row.length] for guid, row in items.items()}, REGION.offset
    )
    assert found == disk


def test_the_layout_is_that_of_windows() -> None:
    data = metadata.build(replace(DISK, has_parent=True, parent_locator=b"L" * 100))
    assert data[:65536] == raw.metadata_table(*SOUND, (LOCATOR, 0x10028, 100, 4, 0))
    assert struct.unpack_from("<IIQII16s", data, 65536) == (
        32 * MIB, 2, 10 << 30, 512, 4096, UUID(int=0x8311).bytes_le
    )  # fmt: skip
    assert data[65536 + 40 :] == b"L" * 100


@pytest.mark.parametrize(
    "rows",
    [
        SOUND,
        list(reversed(SOUND)),
        [(row[0], row[1], row[2], 2 if row[0] in (LOGICAL, PHYSICAL) else row[3], 0) for row in SOUND],
        [*SOUND, (CHS, 0x11000, 8, 6, 0)],
        [*SOUND, (PMEM, 0x11000, 4096, 6, 0)],
        [*SOUND, (STRANGE, 0x11000, 100, 0, 0)],
        [*SOUND, (STRANGE, 0, 0, 0, 0)],
        [*SOUND, (STRANGE, 0x11000, 100, 1, 0), (STRANGE, 0x11064, 100, 0, 0)],
        [*SOUND, (FILE_PARAMETERS, 0x11000, 100, 1, 0)],
        [*SOUND, (LOCATOR, 0x10028, 700, 4, 0)],
    ],
    ids=[
        "plain", "any order", "early sector sizes", "CHS", "PMEM", "unknown optional", "empty item",
        "user item beside a system item", "user item with a known id", "locator",
    ],
)  # fmt: skip
def test_sound_tables(rows: list[Row]) -> None:
    assert len(parsed(*rows)) == len(rows)


def test_what_lies_behind_the_counted_entries_does_not_matter() -> None:
    stale = raw.metadata_table(*SOUND, SOUND[-1], (STRANGE, 1, 2, 0xFF, 9), count=5)
    assert len(metadata.parse_table(stale, REGION)) == 5


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (altered(PAGE_83, offset=0xFFFF), "inside the table"),
        (altered(PAGE_83, offset=MIB - 15), "beyond the region"),
        (altered(PAGE_83, offset=0xFFFFFFFF), "beyond the region"),
        (altered(PAGE_83, offset=0x10017), "overlap"),
        (altered(PAGE_83, length=15), "instead of 16"),
        (altered(FILE_PARAMETERS, length=9), "instead of 8"),
        (altered(VIRTUAL_DISK_SIZE, length=4), "instead of 8"),
        (altered(LOGICAL, length=2), "instead of 4"),
        (altered(PHYSICAL, length=0), "."),
        (altered(FILE_PARAMETERS, flags=6), "flags"),
        (altered(FILE_PARAMETERS, flags=0), "flags"),
        (altered(VIRTUAL_DISK_SIZE, flags=4), "flags"),
        (altered(PAGE_83, flags=5), "user item"),
        (altered(PAGE_83, flags=14), "reserved"),
        (altered(PAGE_83, reserved=1), "reserved"),
        ([*SOUND, (UUID(int=0), 0x11000, 8, 0, 0)], "id is zero"),
        ([*SOUND, (STRANGE, 0x11000, 8, 5, 0)], "user item"),
        ([*SOUND, (STRANGE, 0x11000, 0, 0, 0)], "length is zero"),
        ([*SOUND, (STRANGE, 0x11000, MIB + 1, 0, 0)], "exceed the maximum item length"),
        ([*SOUND, (FILE_PARAMETERS, 0x11000, 8, 4, 0)], "two entries"),
        ([*SOUND, (STRANGE, 0x11000, 8, 1, 0), (STRANGE, 0x12000, 8, 1, 0)], "two entries"),
        ([*SOUND, (INCOMPLETE, 0, 0, 4, 0)], "not completed"),
        ([*SOUND, (LOCATOR, 0x10028, 700, 6, 0)], "flags"),
        *[([row for row in SOUND if row[0] != item], "missing") for item, *_ in SOUND],
    ],
)
def test_impossible_tables(rows: list[Row], reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as caught:
        parsed(*rows)
    assert caught.value.structure.startswith("metadata table")


def test_a_fault_in_an_entry_names_the_entrys_place() -> None:
    with pytest.raises(FormatError) as caught:
        parsed(*altered(LOGICAL, length=5))
    assert (caught.value.structure, caught.value.offset) == ("metadata table entry", 2 * MIB + 32 + 2 * 32)


def test_an_unfinished_file_is_refused_by_place() -> None:
    with pytest.raises(FormatError) as caught:
        parsed(*SOUND, (INCOMPLETE, 0, 0, 4, 0))
    assert caught.value.offset is not None


def test_an_unknown_item_that_is_required_is_refused() -> None:
    for flags in (4, 6):
        with pytest.raises(UnsupportedFeature, match=str(STRANGE)):
            parsed(*SOUND, (STRANGE, 0x11000, 8, flags, 0))


def test_a_bad_signature_is_refused() -> None:
    with pytest.raises(FormatError) as caught:
        metadata.parse_table(b"M" + raw.metadata_table(*SOUND)[1:], REGION)
    assert (caught.value.structure, caught.value.offset) == ("metadata table", 2 * MIB)


def test_counts_and_sizes_have_limits() -> None:
    with pytest.raises(FormatError, match="2048"):
        metadata.parse_table(raw.metadata_table(*SOUND, count=2048), REGION)
    system = [(UUID(int=number + 1), 0, 0, 0, 0) for number in range(1023 - len(SOUND))]
    user = [(UUID(int=number + 1), 0, 0, 1, 0) for number in range(1024)]
    assert len(parsed(*SOUND, *system, *user)) == 2047
    with pytest.raises(FormatError, match="1024 items"):
        parsed(*SOUND, *system, (UUID(int=9999), 0, 0, 0, 0))
    with pytest.raises(FormatError, match="1025 items"):
        parsed(*SOUND, *user, (UUID(int=9999), 0, 0, 1, 0))
    large = [(UUID(int=number + 1), MIB * (number + 1), MIB, 0, 0) for number in range(40)]
    assert parsed(*SOUND, *large[:39], region=Range(2 * MIB, 64 * MIB))
    with pytest.raises(FormatError, match="exceed the limits for a file"):
        parsed(*SOUND, *large, region=Range(2 * MIB, 64 * MIB))


@pytest.mark.parametrize(("reserved", "padding"), [(1, bytes(20)), (0, bytes(19) + b"\1")])
def test_reserved_fields_must_be_zero(reserved: int, padding: bytes) -> None:
    with pytest.raises(FormatError):
        metadata.parse_table(raw.metadata_table(*SOUND, reserved=reserved, padding=padding), REGION)


@pytest.mark.parametrize("block_size", [MIB, 2 * MIB, 256 * MIB])
def test_block_sizes(block_size: int) -> None:
    found = metadata.decode(contents(parameters=struct.pack("<II", block_size, 0)), REGION.offset)
    assert found.block_size == block_size


@pytest.mark.parametrize(
    "values",
    [
        {"parameters": struct.pack("<II", 0, 0)},
        {"parameters": struct.pack("<II", MIB // 2, 0)},
        {"parameters": struct.pack("<II", 3 * MIB, 0)},
        {"parameters": struct.pack("<II", 512 * MIB, 0)},
        {"parameters": struct.pack("<II", 1 << 31, 0)},
        {"parameters": struct.pack("<II", MIB, 4)},
        {"parameters": struct.pack("<II", MIB, 2)},
        {"logical": struct.pack("<I", 0)},
        {"logical": struct.pack("<I", 1024)},
        {"logical": struct.pack("<I", 8192)},
        {"physical": struct.pack("<I", 0)},
        {"physical": struct.pack("<I", 2048)},
        {"size": struct.pack("<Q", 0)},
        {"size": struct.pack("<Q", 513)},
        {"size": struct.pack("<Q", (64 << 40) + 512)},
        {"size": struct.pack("<Q", (1 << 64) - 512)},
        {"size": struct.pack("<Q", 512), "logical": struct.pack("<I", 4096)},
    ],
)
def test_impossible_disks(values: dict[str, bytes]) -> None:
    with pytest.raises(FormatError) as caught:
        metadata.decode(contents(**values), REGION.offset)
    assert caught.value.offset == REGION.offset


def test_the_largest_disk() -> None:
    found = metadata.decode(contents(size=struct.pack("<Q", 64 << 40)), REGION.offset)
    assert found.virtual_size == 64 << 40


def test_leave_block_allocated_counts_only_without_a_parent() -> None:
    fixed = metadata.decode(contents(parameters=struct.pack("<II", MIB, 1)), REGION.offset)
    assert (fixed.leave_block_allocated, fixed.has_parent) == (True, False)
    child = metadata.decode(contents(parameters=struct.pack("<II", MIB, 3), locator=b"l"), REGION.offset)
    assert (child.leave_block_allocated, child.has_parent, child.parent_locator) == (False, True, b"l")


def test_a_locator_counts_only_with_a_parent() -> None:
    assert metadata.decode(contents(locator=b"l"), REGION.offset).parent_locator is None
