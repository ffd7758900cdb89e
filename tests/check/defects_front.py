"""Lies about the file itself, its headers, its log and its region tables."""

import struct
from uuid import UUID

from tests.check.catalogue import (
    BAT,
    DATA,
    INFO,
    LOG,
    LOG_GUID,
    METADATA,
    TABLES,
    E,
    W,
    defect,
    fixed,
    forged_log,
    seal_regions,
)
from tests.format.raw import BAT_REGION, METADATA_REGION, MIB, PAGE, ring
from tests.image.forge import HEADERS, Forge

FIRST, SECOND = HEADERS
OTHER = UUID(int=0xABCD)
REGIONS = ((BAT_REGION, BAT, MIB, 1), (METADATA_REGION, METADATA, MIB, 1))
ENTRY = TABLES[0] + 16
"""The first entry of the first region table; it is the BAT's."""


@defect("file-unrecognised", E, "file", 0)
def identifier_overwritten(image: Forge) -> None:
    image.write(0, b"PK\3\4")


@defect("file-unrecognised", E, "file", 0)
def nothing_left(image: Forge) -> None:
    image.truncate(0)


@defect("file-ambiguous", E, "file", None)
def a_guest_wrote_a_vhd_footer(image: Forge) -> None:
    image.write(image.size - 512, b"conectix")


@defect("file-too-short", E, "file", None)
def cut_inside_the_headers(image: Forge) -> None:
    image.truncate(MIB - 1)


@defect("file-size-alignment", INFO, "file", None)
def a_ragged_end(image: Forge) -> None:
    image.truncate(image.size + 512)


@defect("file-too-large", E, "file", None)
def more_than_any_disk_needs(image: Forge) -> None:
    image.truncate((128 << 40) + MIB)


@defect("creator-text", INFO, "file identifier", 8)
def a_creator_that_is_no_text(image: Forge) -> None:
    image.write(8, b"\x00\xdc")


@defect("reserved-area", W, "file", 1000)
def bytes_behind_the_identifier(image: Forge) -> None:
    image.write(1000, b"x")


@defect("reserved-area", W, "file", FIRST + PAGE)
def bytes_behind_the_first_header(image: Forge) -> None:
    image.write(FIRST + PAGE, b"x")


@defect("reserved-area", W, "file", 192 * 1024 - 1)
def bytes_behind_the_second_header(image: Forge) -> None:
    image.write(192 * 1024 - 1, b"x")


@defect("reserved-area", W, "file", MIB - 1)
def bytes_behind_the_region_tables(image: Forge) -> None:
    image.write(MIB - 1, b"x")


@defect("header-checksum", W, "header", FIRST)
def checksum_of_the_first_header(image: Forge) -> None:
    image.write(FIRST + 4, b"\xff\xfe\xfd\xfc")


@defect("header-checksum", W, "header", SECOND)
def a_torn_second_header(image: Forge) -> None:
    image.write(SECOND + 16, b"\xff" * 40)


@defect("header-signature", W, "header", SECOND)
def signature_of_the_second_header(image: Forge) -> None:
    image.write(SECOND, b"HEAD")


@defect("header-none-valid", E, "header", FIRST, implies=("header-signature",))
def no_header(image: Forge) -> None:
    for offset in HEADERS:
        image.write(offset, bytes(PAGE))


@defect("header-none-valid", E, "header", FIRST, implies=("header-checksum",))
def two_headers_of_wrong_checksums(image: Forge) -> None:
    for offset in HEADERS:
        image.write(offset + 4, b"\xff\xfe\xfd\xfc")


@defect("header-reserved", W, "header", FIRST + 100)
def reserved_bytes_of_a_header(image: Forge) -> None:
    image.change_header(100, b"x", slots=(0,))


@defect("header-same-sequence", E, "header", FIRST)
def two_headers_of_one_number(image: Forge) -> None:
    image.change_header(8, struct.pack("<Q", 9))
    image.change_header(16, OTHER.bytes_le, slots=(0,))


@defect("header-identical", INFO, "header", FIRST)
def headers_as_disk2vhd_writes_them(image: Forge) -> None:
    image.write(SECOND, image.read(FIRST, PAGE))


@defect("header-sequence-gap", W, "header", SECOND)
def a_header_far_ahead(image: Forge) -> None:
    image.change_header(8, struct.pack("<Q", 900), slots=(0,))


@defect("header-sequence-last", E, "header", FIRST)
def the_last_sequence_number(image: Forge) -> None:
    image.change_header(8, b"\xff" * 8, slots=(0,))
    image.change_header(8, b"\xfe" + b"\xff" * 7, slots=(1,))


@defect("header-guid-zero", W, "header", SECOND)
def no_file_write_guid(image: Forge) -> None:
    image.change_header(16, bytes(16))


@defect("header-guid-zero", W, "header", SECOND)
def no_data_write_guid(image: Forge) -> None:
    image.change_header(32, bytes(16))


@defect("header-version", E, "header", SECOND)
def a_later_version(image: Forge) -> None:
    image.change_header(66, b"\2\0")


@defect("header-log-version", E, "header", SECOND)
def a_later_log(image: Forge) -> None:
    image.change_header(64, b"\1\0")


@defect("header-log-alignment", E, "header", SECOND)
def a_log_off_the_grid(image: Forge) -> None:
    image.change_header(72, struct.pack("<Q", MIB - PAGE + MIB))


@defect("header-log-alignment", E, "header", SECOND)
def a_log_of_half_a_mib(image: Forge) -> None:
    image.change_header(68, struct.pack("<I", MIB // 2))


@defect("header-log-in-headers", E, "header", SECOND)
def a_log_on_the_headers(image: Forge) -> None:
    image.change_header(72, bytes(8))


@defect("header-log-beyond-end", E, "header", SECOND)
def a_log_behind_the_end(image: Forge) -> None:
    image.change_header(72, struct.pack("<Q", 1 << 40))


@defect("header-log-without-length", E, "header", SECOND)
def a_log_in_use_without_length(image: Forge) -> None:
    image.change_header(48, LOG_GUID.bytes_le + struct.pack("<HHI", 0, 1, 0))


@defect("header-no-log", W, "header", SECOND, implies=("space-unused",))
def no_room_for_a_log(image: Forge) -> None:
    image.change_header(68, bytes(4))


@defect("log-no-sequence", E, "log", LOG)
def a_log_in_use_that_is_empty(image: Forge) -> None:
    image.change_header(48, LOG_GUID.bytes_le)


@defect("log-no-sequence", E, "log", LOG)
def a_torn_only_entry(image: Forge) -> None:
    forged_log(image, (BAT, bytes(PAGE)))
    image.write(LOG + PAGE + 100, b"x")


@defect("log-dirty", INFO, "log", LOG, implies=("space-unused",))
def a_log_that_is_to_be_replayed(image: Forge) -> None:
    forged_log(image, (BAT, bytes(PAGE)))


@defect("log-dirty", INFO, "log", LOG, implies=("bat-state",))
def a_log_whose_replay_brings_a_fault(image: Forge) -> None:
    page = bytearray(image.read(BAT, PAGE))
    page[40] = 5
    forged_log(image, (BAT, bytes(page)))


@defect("bat-beyond-end", E, "BAT entry", BAT + 40, implies=("log-dirty",))
def what_a_log_makes_of_the_table(image: Forge) -> None:
    page = bytearray(image.read(BAT, PAGE))
    page[40:48] = struct.pack("<Q", 50 * MIB | 6)
    forged_log(image, (BAT, bytes(page)))


@defect("log-not-valid", E, "log", LOG)
def a_ring_of_overlapping_entries(image: Forge) -> None:
    head = struct.pack("<4s4xIIQI4x16sQQ", b"loge", MIB - PAGE, 0, 1, 0, LOG_GUID.bytes_le, 0, 0)
    image.write(LOG, ring(MIB, *((at, head) for at in range(0, MIB, PAGE))))
    image.change_header(48, LOG_GUID.bytes_le)


@defect("log-too-large", E, "log", 16 * MIB)
def a_log_in_use_of_129_mib(image: Forge) -> None:
    image.truncate(145 * MIB)
    image.change_header(48, LOG_GUID.bytes_le + struct.pack("<HHIQ", 0, 1, 129 * MIB, 16 * MIB))


@defect("log-file-truncated", E, "log", LOG)
def a_file_shorter_than_its_log_knew(image: Forge) -> None:
    forged_log(image, flushed=image.size + MIB)


@defect("log-file-growth", INFO, "log", LOG, implies=("log-dirty", "space-unused"))
def a_log_that_makes_the_file_longer(image: Forge) -> None:
    forged_log(image, last=image.size + MIB)


@defect("log-file-growth-unfounded", E, "log", LOG, implies=("log-dirty", "log-file-growth"))
def a_log_that_makes_the_file_huge(image: Forge) -> None:
    forged_log(image, last=1 << 40)


@defect("log-file-growth-unfounded", E, "log", LOG, implies=("log-file-growth",))
def a_log_that_makes_the_file_absurd(image: Forge) -> None:
    forged_log(image, last=1 << 62)


@defect("log-offset-alignment", W, "log entry", LOG, implies=("log-dirty",))
def a_file_size_in_the_log_off_the_grid(image: Forge) -> None:
    forged_log(image, flushed=DATA + 512)


@defect("log-target-alignment", E, "log entry", LOG)
def a_change_off_the_grid(image: Forge) -> None:
    forged_log(image, (BAT + 8, bytes(PAGE)))


@defect("log-target-alignment", E, "log entry", LOG)
def a_range_of_no_zeros(image: Forge) -> None:
    forged_log(image, (BAT, 0))


@defect("log-target-headers", E, "log entry", LOG)
def a_change_of_the_headers(image: Forge) -> None:
    forged_log(image, (FIRST, bytes(PAGE)))


@defect("log-target-log", E, "log entry", LOG)
def a_change_of_the_log_itself(image: Forge) -> None:
    forged_log(image, (LOG + 8 * PAGE, bytes(PAGE)))


@defect("log-target-beyond-end", E, "log entry", LOG)
def zeros_behind_the_end(image: Forge) -> None:
    forged_log(image, (BAT, 1 << 40))


@defect("region-table-checksum", W, "region table", TABLES[0])
def checksum_of_the_first_region_table(image: Forge) -> None:
    image.write(TABLES[0] + 4, b"\xff\xfe\xfd\xfc")


@defect("region-table-signature", W, "region table", TABLES[1])
def signature_of_the_second_region_table(image: Forge) -> None:
    image.write(TABLES[1], b"REGI")


@defect("region-table-none-valid", E, "region table", TABLES[0], implies=("region-table-checksum",))
def no_region_table(image: Forge) -> None:
    for offset in TABLES:
        image.write(offset + 40, b"\xff" * 4)


@defect("region-table-count", E, "region table", TABLES[0] + 8)
def a_first_table_of_too_many_entries(image: Forge) -> None:
    image.change_sealed(TABLES[0], 65536, 8, struct.pack("<I", 2048))


@defect("region-table-reserved", E, "region table", TABLES[0] + 12)
def the_reserved_field_of_a_region_table(image: Forge) -> None:
    image.change_sealed(TABLES[0], 65536, 12, b"x")


@defect("region-table-padding", W, "region table", TABLES[1] + 500)
def bytes_behind_the_regions(image: Forge) -> None:
    image.change_sealed(TABLES[1], 65536, 500, b"x")


@defect("region-tables-differ", W, "region table", TABLES[1])
def two_different_region_tables(image: Forge) -> None:
    image.change_sealed(TABLES[1], 65536, 16 + 16, struct.pack("<Q", 5 * MIB))


@defect("region-missing", E, "region table", TABLES[0])
def no_bat(image: Forge) -> None:
    image.set_regions(REGIONS[1])


@defect("region-missing", E, "region table", TABLES[0])
def no_metadata(image: Forge) -> None:
    image.set_regions(REGIONS[0])


@defect("region-duplicate", E, "region table entry", ENTRY + 64)
def two_bats(image: Forge) -> None:
    image.set_regions(*REGIONS, (BAT_REGION, 6 * MIB, MIB, 1))


@defect("region-length", E, "region table entry", ENTRY)
def a_bat_of_no_length(image: Forge) -> None:
    seal_regions(image, 16 + 24, bytes(4))


@defect("region-length", E, "region table entry", ENTRY, implies=("region-beyond-end",))
def a_bat_longer_than_any(image: Forge) -> None:
    seal_regions(image, 16 + 24, struct.pack("<I", 514 * MIB))


@defect("region-alignment", E, "region table entry", ENTRY)
def a_bat_off_the_grid(image: Forge) -> None:
    seal_regions(image, 16 + 16, struct.pack("<Q", BAT + PAGE))


@defect("region-in-headers", E, "region table entry", ENTRY)
def a_bat_on_the_headers(image: Forge) -> None:
    seal_regions(image, 16 + 16, bytes(8))


@defect("region-beyond-end", E, "region table entry", ENTRY)
def a_bat_behind_the_end(image: Forge) -> None:
    seal_regions(image, 16 + 16, struct.pack("<Q", 7 * MIB))


@defect("region-beyond-end", E, "region table entry", ENTRY + 32)
def metadata_at_the_end_of_all_numbers(image: Forge) -> None:
    seal_regions(image, 48 + 16, struct.pack("<Q", (1 << 64) - MIB))


@defect("region-reserved", E, "region table entry", ENTRY + 32)
def reserved_flags_of_a_region(image: Forge) -> None:
    seal_regions(image, 48 + 28, b"\3")


@defect("region-overlap", E, "region table", TABLES[0], implies=("region-unknown",))
def a_third_region_on_the_metadata(image: Forge) -> None:
    image.set_regions(*REGIONS, (OTHER, METADATA, MIB, 0))


@defect("region-overlap", E, "region table", TABLES[0])
def a_log_on_the_bat(image: Forge) -> None:
    image.change_header(72, struct.pack("<Q", BAT))


@defect("region-unknown-required", E, "region table entry", ENTRY + 64)
def an_unknown_region_that_is_required(image: Forge) -> None:
    end = image.size
    image.truncate(end + MIB)
    image.set_regions(*REGIONS, (OTHER, end, MIB, 1))


@defect("region-unknown", INFO, "region table entry", ENTRY + 64)
def an_unknown_region(image: Forge) -> None:
    end = image.size
    image.truncate(end + MIB)
    image.set_regions(*REGIONS, (OTHER, end, MIB, 0))


@defect("region-not-required", INFO, "region table entry", ENTRY)
def a_bat_as_qemu_writes_it(image: Forge) -> None:
    seal_regions(image, 16 + 28, b"\0")


@defect("fixed-file-short", INFO, "file", None, start=fixed, implies=("bat-fixed-unallocated",))
def a_fixed_disk_of_a_dynamic_size(image: Forge) -> None:
    image.write(BAT + 7 * 8, bytes(8))
    image.truncate(image.size - MIB)


@defect("space-unused", INFO, "file", None)
def a_leak(image: Forge) -> None:
    image.truncate(image.size + 3 * MIB)


