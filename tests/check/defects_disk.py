"""Lies about the disk: metadata, parent locator, block table, sector bitmaps, content."""

import struct
from uuid import UUID

from tests.check.catalogue import (
    BAT,
    CHILD_CHUNK,
    CHUNK,
    DATA,
    INFO,
    ITEMS,
    METADATA,
    E,
    W,
    child,
    defect,
    fixed,
    item_entry,
    ragged,
    short_child,
)
from tests.format.raw import LOCATOR_TYPE, MIB, locator
from tests.image.forge import Forge
from vhdx.format.metadata import FILE_PARAMETERS, INCOMPLETE_FILE

OTHER = UUID(int=0xABCD)
PARAMETERS, VIRTUAL_SIZE, LOGICAL, PHYSICAL, DISK_ID, LOCATOR = (ITEMS + at for at in (0, 8, 16, 20, 24, 40))


def add_item(image: Forge, item_id: UUID, offset: int, length: int, flags: int, reserved: int = 0) -> None:
    """One more item behind the five of `plain`."""
    image.write(item_entry(5), struct.pack("<16sIIII", item_id.bytes_le, offset, length, flags, reserved))
    image.write(METADATA + 10, b"\6\0")


@defect("metadata-signature", E, "metadata table", METADATA)
def no_metadata_table(image: Forge) -> None:
    image.write(METADATA, bytes(65536))


@defect("metadata-reserved", E, "metadata table", METADATA + 8)
def reserved_bytes_of_the_table(image: Forge) -> None:
    image.write(METADATA + 20, b"x")


@defect("metadata-count", E, "metadata table", METADATA + 10)
def more_items_than_fit(image: Forge) -> None:
    image.write(METADATA + 10, struct.pack("<H", 2048))


@defect("metadata-stale-entries", INFO, "metadata table", item_entry(5))
def an_old_entry_as_windows_leaves_it(image: Forge) -> None:
    image.write(item_entry(5), image.read(item_entry(4), 32))


@defect("metadata-too-much", E, "metadata table", METADATA)
def more_user_items_than_a_file_may_have(image: Forge) -> None:
    for number in range(1025):
        row = struct.pack("<16sIIII", UUID(int=number + 1).bytes_le, 0, 0, 1, 0)
        image.write(item_entry(5 + number), row)
    image.write(METADATA + 10, struct.pack("<H", 1030))


@defect("metadata-item-missing", E, "metadata table", METADATA)
def no_disk_id(image: Forge) -> None:
    image.write(METADATA + 10, b"\4\0")
    image.write(item_entry(4), bytes(32))


@defect("metadata-item-missing", E, "metadata table", METADATA)
def no_block_size(image: Forge) -> None:
    image.write(item_entry(0), image.read(item_entry(4), 32) + bytes(0))
    image.write(item_entry(4), bytes(32))
    image.write(METADATA + 10, b"\4\0")


@defect("metadata-item-id", E, "metadata table entry", item_entry(5))
def an_item_without_id(image: Forge) -> None:
    add_item(image, UUID(int=0), 0x10100, 16, 0)


@defect("metadata-item-reserved", E, "metadata table entry", item_entry(2))
def reserved_flags_of_an_item(image: Forge) -> None:
    image.write(item_entry(2) + 24, b"\x0e")


@defect("metadata-item-reserved", E, "metadata table entry", item_entry(2))
def the_reserved_field_of_an_item(image: Forge) -> None:
    image.write(item_entry(2) + 28, b"x")


@defect("metadata-item-duplicate", E, "metadata table entry", item_entry(5))
def two_block_sizes(image: Forge) -> None:
    add_item(image, FILE_PARAMETERS, 0x10100, 8, 4)


@defect("metadata-item-user-required", E, "metadata table entry", item_entry(5))
def a_user_item_that_is_required(image: Forge) -> None:
    add_item(image, OTHER, 0x10100, 16, 5)


@defect("metadata-item-too-long", E, "metadata table entry", item_entry(5), implies=("metadata-item-beyond-region",))
def an_item_of_more_than_a_mib(image: Forge) -> None:
    add_item(image, OTHER, 0x10100, MIB + 1, 1)


@defect("metadata-item-offset", E, "metadata table entry", item_entry(1))
def an_item_on_the_table(image: Forge) -> None:
    image.write(item_entry(1) + 16, struct.pack("<I", 64))


@defect("metadata-item-offset", E, "metadata table entry", item_entry(5))
def an_empty_item_with_an_offset(image: Forge) -> None:
    add_item(image, OTHER, 0x10100, 0, 1)


@defect("metadata-item-beyond-region", E, "metadata table entry", item_entry(3))
def an_item_behind_the_region(image: Forge) -> None:
    image.write(item_entry(3) + 16, struct.pack("<I", MIB - 2))


@defect("metadata-item-overlap", E, "metadata table entry", item_entry(5))
def an_item_on_another(image: Forge) -> None:
    add_item(image, OTHER, 0x10020, 16, 1)


@defect("metadata-item-length", E, "metadata table entry", item_entry(1))
def a_disk_size_of_twelve_bytes(image: Forge) -> None:
    image.write(item_entry(1) + 20, struct.pack("<I", 12))


@defect("metadata-item-flags", E, "metadata table entry", item_entry(0))
def file_parameters_of_the_disk(image: Forge) -> None:
    image.write(item_entry(0) + 24, b"\6")


@defect("metadata-item-flags", E, "metadata table entry", item_entry(1))
def a_disk_size_of_the_file(image: Forge) -> None:
    image.write(item_entry(1) + 24, b"\4")


@defect("metadata-item-not-required", INFO, "metadata table entry", item_entry(3))
def a_sector_size_that_is_optional(image: Forge) -> None:
    image.write(item_entry(3) + 24, b"\2")


@defect("metadata-item-unknown-required", E, "metadata table entry", item_entry(5))
def an_unknown_item_that_is_required(image: Forge) -> None:
    add_item(image, OTHER, 0x10100, 16, 4)


@defect("metadata-item-unknown", INFO, "metadata table entry", item_entry(5))
def an_unknown_item(image: Forge) -> None:
    add_item(image, OTHER, 0x10100, 16, 0)


@defect("metadata-incomplete-file", E, "metadata table entry", item_entry(5))
def a_file_that_was_never_finished(image: Forge) -> None:
    add_item(image, INCOMPLETE_FILE, 0, 0, 4)


@defect("file-parameters-reserved", E, "file parameters", PARAMETERS + 4)
def reserved_flags_of_the_file(image: Forge) -> None:
    image.write(PARAMETERS + 4, b"\x80")


@defect("block-size", E, "file parameters", PARAMETERS)
def blocks_of_three_mib(image: Forge) -> None:
    image.write(PARAMETERS, struct.pack("<I", 3 * MIB))


@defect("block-size", E, "file parameters", PARAMETERS)
def blocks_of_nothing(image: Forge) -> None:
    image.write(PARAMETERS, bytes(4))


@defect("leave-allocated-ignored", W, "file parameters", PARAMETERS + 4, start=child)
def a_fixed_child(image: Forge) -> None:
    image.write(PARAMETERS + 4, b"\3")


@defect("virtual-size", E, "virtual disk size", VIRTUAL_SIZE)
def a_disk_of_nothing(image: Forge) -> None:
    image.write(VIRTUAL_SIZE, bytes(8))


@defect("virtual-size", E, "virtual disk size", VIRTUAL_SIZE)
def a_disk_of_65_tib(image: Forge) -> None:
    image.write(VIRTUAL_SIZE, struct.pack("<Q", 65 << 40))


@defect("virtual-size", E, "virtual disk size", VIRTUAL_SIZE)
def half_a_sector(image: Forge) -> None:
    image.write(VIRTUAL_SIZE, struct.pack("<Q", 8 * MIB + 256))


@defect("disk-id-zero", W, "virtual disk id", DISK_ID)
def a_disk_without_id(image: Forge) -> None:
    image.write(DISK_ID, bytes(16))


@defect("logical-sector-size", E, "logical sector size", LOGICAL)
def sectors_of_520_bytes(image: Forge) -> None:
    image.write(LOGICAL, struct.pack("<I", 520))


@defect("physical-sector-size", E, "physical sector size", PHYSICAL)
def physical_sectors_of_nothing(image: Forge) -> None:
    image.write(PHYSICAL, bytes(4))


@defect("locator-missing", E, "metadata table", METADATA, implies=("bat-too-small",))
def a_child_without_locator(image: Forge) -> None:
    image.write(PARAMETERS, struct.pack("<II", MIB, 2))
    image.write(VIRTUAL_SIZE, struct.pack("<Q", 1 << 40))


@defect("locator-missing", E, "metadata table", METADATA, start=child)
def a_child_that_lost_its_locator(image: Forge) -> None:
    image.write(METADATA + 10, b"\5\0")
    image.write(item_entry(5), bytes(32))


@defect("locator-unused", W, "parent locator", LOCATOR, start=child, implies=("bat-partial-without-parent",))
def a_locator_in_a_disk_that_denies_its_parent(image: Forge) -> None:
    image.write(PARAMETERS + 4, b"\0")
    image.write(BAT + 8 * CHILD_CHUNK, bytes(8))


def text(value: str) -> bytes:
    return value.encode("utf-16-le")


GUID = text("{0000abcd-0000-0000-0000-000000000000}")
RIGHT = [(text("parent_linkage"), GUID), (text("relative_path"), text(".\\base.vhdx"))]


def put_locator(image: Forge, item: bytes) -> None:
    image.write(LOCATOR, item)
    image.write(item_entry(5) + 20, struct.pack("<I", len(item)))


@defect("locator-type", E, "parent locator", LOCATOR, start=child)
def a_locator_of_another_type(image: Forge) -> None:
    put_locator(image, locator(RIGHT, kind=OTHER))


@defect("locator-reserved", E, "parent locator", LOCATOR + 16, start=child)
def the_reserved_field_of_a_locator(image: Forge) -> None:
    put_locator(image, locator(RIGHT, reserved=1))


@defect("locator-count", E, "parent locator", LOCATOR + 18, start=child)
def a_locator_without_pairs(image: Forge) -> None:
    put_locator(image, locator([]))


@defect("locator-count", E, "parent locator", LOCATOR + 18, start=child)
def a_locator_of_too_many_pairs(image: Forge) -> None:
    put_locator(image, struct.pack("<16sHH", LOCATOR_TYPE.bytes_le, 0, 40) + bytes(60))


@defect("locator-count", E, "parent locator", LOCATOR, start=child)
def a_locator_of_ten_bytes(image: Forge) -> None:
    put_locator(image, bytes(10))


@defect("locator-text", E, "parent locator", LOCATOR + 20 + 12, start=child)
def a_path_of_half_a_character(image: Forge) -> None:
    put_locator(image, locator([RIGHT[0], (RIGHT[1][0], b"\x00\xd8")]))


@defect("locator-text", E, "parent locator", LOCATOR + 20 + 12, start=child)
def a_path_behind_the_item(image: Forge) -> None:
    put_locator(image, locator(RIGHT)[:-2])


@defect("locator-duplicate", E, "parent locator", LOCATOR + 20 + 24, start=child)
def a_path_that_is_there_twice(image: Forge) -> None:
    put_locator(image, locator([*RIGHT, RIGHT[1]]))


@defect("locator-linkage", E, "parent locator", LOCATOR, start=child)
def a_locator_without_linkage(image: Forge) -> None:
    put_locator(image, locator(RIGHT[1:]))


@defect("locator-linkage", E, "parent locator", LOCATOR, start=child)
def a_linkage_that_is_no_guid(image: Forge) -> None:
    put_locator(image, locator([(text("parent_linkage"), text("none")), RIGHT[1]]))


@defect("locator-linkage2", W, "parent locator", LOCATOR, start=child)
def a_second_linkage_that_is_no_guid(image: Forge) -> None:
    put_locator(image, locator([*RIGHT, (text("parent_linkage2"), text("none"))]))


@defect("locator-no-path", E, "parent locator", LOCATOR, start=child)
def a_locator_without_path(image: Forge) -> None:
    put_locator(image, locator(RIGHT[:1]))


@defect("locator-unknown-key", INFO, "parent locator", LOCATOR, start=child)
def a_key_that_nobody_knows(image: Forge) -> None:
    put_locator(image, locator([*RIGHT, (text("nfs_path"), text("x"))]))


@defect("bat-too-small", E, "BAT", BAT)
def a_disk_of_64_tib_by_its_metadata(image: Forge) -> None:
    image.write(VIRTUAL_SIZE, struct.pack("<Q", 64 << 40))


@defect("bat-reserved-bits", E, "BAT entry", BAT + 16)
def reserved_bits_of_a_block(image: Forge) -> None:
    image.set_entry(2, image.entry(2) | 1 << 19)


@defect("bat-reserved-bits", E, "BAT entry", BAT + 8 * CHILD_CHUNK, start=child)
def reserved_bits_of_a_bitmap(image: Forge) -> None:
    image.set_entry(CHILD_CHUNK, image.entry(CHILD_CHUNK) | 8)


@defect("bat-state", E, "BAT entry", BAT + 8 * 4)
def a_block_of_state_4(image: Forge) -> None:
    image.set_entry(4, 4)


@defect("bat-state", E, "BAT entry", BAT + 8 * 4)
def a_block_of_state_5(image: Forge) -> None:
    image.set_entry(4, 5)


@defect("bat-bitmap-state", E, "BAT entry", BAT + 8 * CHILD_CHUNK, start=child, implies=("bat-bitmap-missing",))
def a_bitmap_of_state_7(image: Forge) -> None:
    image.set_entry(CHILD_CHUNK, image.entry(CHILD_CHUNK) | 7)


@defect("bat-partial-without-parent", E, "BAT entry", BAT)
def half_a_block_without_parent(image: Forge) -> None:
    image.set_entry(0, image.entry(0) | 7)


@defect("bat-bitmap-missing", E, "BAT entry", BAT + 8 * CHILD_CHUNK, start=child)
def half_a_block_without_bitmap(image: Forge) -> None:
    image.set_entry(CHILD_CHUNK, 0)


@defect("bat-no-place", E, "BAT entry", BAT + 8 * 4)
def a_block_that_is_nowhere(image: Forge) -> None:
    image.set_entry(4, 6)


@defect("bat-no-place", E, "BAT entry", BAT + 8 * CHILD_CHUNK, start=child, implies=("bat-bitmap-missing",))
def a_bitmap_that_is_nowhere(image: Forge) -> None:
    image.set_entry(CHILD_CHUNK, 6)


@defect("bat-zero-with-place", E, "BAT entry", BAT)
def a_zero_block_with_a_place(image: Forge) -> None:
    image.set_entry(0, DATA | 2)


@defect("bat-absent-with-place", W, "BAT entry", BAT, implies=("space-unused",))
def an_absent_block_with_a_place(image: Forge) -> None:
    image.set_entry(0, DATA)


@defect("bat-absent-with-place", W, "BAT entry", BAT + 8 * CHILD_CHUNK, start=child, implies=("bat-bitmap-missing",))
def an_absent_bitmap_with_a_place(image: Forge) -> None:
    image.set_entry(CHILD_CHUNK, 6 * MIB)


@defect("bat-in-structure", E, "BAT entry", BAT + 8 * 4)
def a_block_on_the_table(image: Forge) -> None:
    image.set_entry(4, BAT | 6)


@defect("bat-in-structure", E, "BAT entry", BAT + 8 * 4)
def a_block_on_the_log(image: Forge) -> None:
    image.set_entry(4, MIB | 6)


@defect("bat-in-structure", E, "BAT entry", BAT + 8 * 4)
def an_unmapped_block_on_the_metadata(image: Forge) -> None:
    image.set_entry(4, METADATA | 3)


@defect("bat-beyond-end", E, "BAT entry", BAT + 8 * 4)
def a_block_behind_the_end(image: Forge) -> None:
    image.set_entry(4, image.size | 6)


@defect("bat-beyond-end", E, "BAT entry", BAT + 8 * 2, start=child)
def a_file_cut_inside_its_last_block(image: Forge) -> None:
    image.truncate(image.size - MIB)


@defect("bat-beyond-end", E, "BAT entry", BAT + 8 * 4)
def a_block_at_the_end_of_all_numbers(image: Forge) -> None:
    image.set_entry(4, (1 << 64) - MIB | 6)


@defect("bat-overlap", E, "BAT entry", BAT + 8 * 4)
def two_blocks_on_one_place(image: Forge) -> None:
    image.set_entry(4, image.entry(1))


@defect("bat-overlap", E, "BAT entry", BAT + 8 * 4)
def an_unmapped_block_on_another(image: Forge) -> None:
    image.set_entry(4, image.entry(1) & ~7 | 3)


@defect("bat-overlap", E, "BAT entry", BAT + 8 * CHILD_CHUNK, start=child)
def a_bitmap_inside_a_block(image: Forge) -> None:
    image.set_entry(CHILD_CHUNK, (DATA + MIB) | 6)


@defect("bat-overlap", E, "BAT entry", BAT + 8, start=child, also=(BAT + 8 * CHILD_CHUNK,))
def blocks_that_share_a_half(image: Forge) -> None:
    image.set_entry(1, (DATA + MIB) | 6)


@defect("bat-overlap", E, "BAT entry", BAT + 8 * 4, also=(BAT + 8 * 5, BAT + 8 * 6))
def blocks_that_share_a_place_by_the_many(image: Forge) -> None:
    for block in (4, 5, 6):
        image.set_entry(block, image.entry(1))


@defect("bat-last-block-short", INFO, "BAT entry", BAT + 8, start=ragged, implies=("file-size-alignment",))
def a_file_that_ends_with_its_disk(image: Forge) -> None:
    image.truncate(DATA + MIB + 4096)


@defect("bat-beyond-end", E, "BAT entry", BAT + 8, start=ragged, implies=("file-size-alignment",))
def a_file_that_ends_before_its_disk(image: Forge) -> None:
    image.truncate(DATA + MIB + 4095)


@defect("bat-bitmap-without-parent", W, "BAT entry", BAT + 8 * CHUNK)
def a_bitmap_without_parent(image: Forge) -> None:
    end = image.size
    image.truncate(end + MIB)
    image.write(VIRTUAL_SIZE, struct.pack("<Q", 5000 * MIB))
    image.set_entry(CHUNK, end | 6)


@defect("bat-padding", W, "BAT", BAT + 8 * 8)
def an_entry_behind_the_table(image: Forge) -> None:
    image.set_entry(8, DATA | 6)
    image.set_entry(9000, 5)


@defect("bat-beyond-disk", W, "BAT entry", BAT + 8 * 4, start=child)
def a_block_behind_the_disk(image: Forge) -> None:
    image.set_entry(4, DATA | 6)


@defect("bat-undefined", INFO, "BAT", BAT)
def an_undefined_block(image: Forge) -> None:
    image.set_entry(5, 1)


@defect("bat-fixed-unallocated", INFO, "BAT", BAT, start=fixed, implies=("space-unused",))
def a_hole_in_a_fixed_disk(image: Forge) -> None:
    image.set_entry(7, 0)


@defect("blocks-fragmented", INFO, "BAT", BAT)
def blocks_all_over_the_file(image: Forge) -> None:
    image.write(VIRTUAL_SIZE, struct.pack("<Q", 40 * MIB))
    image.truncate(44 * MIB)
    for number in range(40):
        image.set_entry(number, (DATA + number * 7 % 40 * MIB) | 6)


@defect("bitmap-beyond-disk", W, "sector bitmap", 6 * MIB, start=short_child)
def bits_behind_the_disk(image: Forge) -> None:
    image.write(6 * MIB + 2048 // 8, b"\1")


@defect("bitmap-empty", INFO, "sector bitmap", BAT, start=child)
def half_a_block_of_nothing(image: Forge) -> None:
    image.write(6 * MIB, bytes(512))


@defect("bitmap-full", INFO, "sector bitmap", BAT, start=child)
def half_a_block_of_all(image: Forge) -> None:
    image.write(6 * MIB, b"\xff" * 512)


@defect("blocks-all-zero", INFO, "payload block", BAT, deep=True)
def a_block_of_zeros(image: Forge) -> None:
    image.write(DATA, bytes(MIB))
