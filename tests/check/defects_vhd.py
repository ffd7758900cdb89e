"""Lies about a VHD."""

import struct

from tests.check.catalogue import INFO, E, W, defect
from tests.check.vhd_images import (
    BLOCK,
    HEADER,
    SIZE,
    TABLE,
    change_footers,
    change_header,
    differencing,
    dynamic,
    fixed,
    footer,
)
from tests.format.raw import MIB
from tests.image.forge import Forge

FIRST = 2048  # the first block of `dynamic`
END = FIRST + 2 * (BLOCK + 512)  # its footer
FIXED_END = SIZE
LOCATORS = HEADER + 576


def set_entry(image: Forge, block: int, offset: int) -> None:
    image.write(TABLE + 4 * block, struct.pack(">I", offset // 512))


@defect("vhd-footer-poisoned", E, "footer", END, start=dynamic)
def vhd_poisoned(image: Forge) -> None:
    image.write(END, b"v_poison")


@defect("vhd-footer-end-missing", W, "footer", END, start=dynamic)
def vhd_crashed_while_it_grew(image: Forge) -> None:
    image.truncate(END)


@defect("vhd-footer-copy-missing", W, "footer", 0, start=dynamic)
def vhd_without_copy(image: Forge) -> None:
    image.write(0, bytes(512))


@defect("vhd-footers-differ", W, "footer", 0, start=dynamic)
def vhd_of_two_minds(image: Forge) -> None:
    image.write(0, footer(3, SIZE - 512))


@defect("vhd-footer-checksum", E, "footer", FIXED_END, start=fixed)
def vhd_fixed_changed_by_hand(image: Forge) -> None:
    image.write(SIZE + 24, b"x")


@defect("vhd-footer-checksum", E, "footer", END, start=dynamic)
def vhd_changed_by_hand(image: Forge) -> None:
    image.write(24, b"x")
    image.write(END + 24, b"x")


@defect("vhd-footer-other-checksum", W, "footer", END, start=dynamic, implies=("vhd-footers-differ",))
def vhd_damaged_end(image: Forge) -> None:
    image.write(END + 24, b"x")


@defect("vhd-footer-other-checksum", W, "footer", 0, start=dynamic)
def vhd_damaged_copy(image: Forge) -> None:
    image.write(24, b"x")


@defect("vhd-footer-old", W, "footer", FIXED_END, start=fixed, implies=("vhd-not-azure",))
def vhd_of_1999(image: Forge) -> None:
    image.truncate(image.size - 1)


@defect("vhd-footer-old", W, "footer", END, start=dynamic)
def vhd_without_its_last_byte(image: Forge) -> None:
    image.truncate(image.size - 1)


@defect("vhd-footer-old", W, "footer", END, start=dynamic, implies=("vhd-footer-other-checksum", "vhd-footers-differ"))
def vhd_damaged_end_of_511_bytes(image: Forge) -> None:
    image.write(END + 24, b"x")
    image.truncate(image.size - 1)


@defect("vhd-footer-minor-version", W, "footer", FIXED_END + 12, start=fixed)
def vhd_of_version_1_1(image: Forge) -> None:
    change_footers(image, 12, struct.pack(">I", 0x10001))


@defect("vhd-host", W, "footer", FIXED_END + 36, start=fixed)
def vhd_of_an_unknown_host(image: Forge) -> None:
    change_footers(image, 36, b"FBSD")


@defect("vhd-footer-version", E, "footer", FIXED_END + 12, start=fixed)
def vhd_of_version_2(image: Forge) -> None:
    change_footers(image, 12, b"\0\2")


@defect("vhd-footer-features", W, "footer", FIXED_END + 8, start=fixed)
def vhd_of_unknown_features(image: Forge) -> None:
    change_footers(image, 8, b"\0\0\0\x10")


@defect("vhd-footer-reserved", W, "footer", FIXED_END + 85, start=fixed)
def vhd_hidden_by_vhd_util(image: Forge) -> None:
    change_footers(image, 85, b"\1")


@defect("vhd-footer-type", E, "footer", FIXED_END + 60, start=fixed)
def vhd_of_type_6(image: Forge) -> None:
    change_footers(image, 60, b"\0\0\0\6")


@defect("vhd-footer-data-offset", E, "footer", END + 16, start=dynamic)
def vhd_header_off_the_grid(image: Forge) -> None:
    change_footers(image, 16, struct.pack(">Q", 600))


@defect("vhd-footer-data-offset", E, "footer", END + 16, start=dynamic)
def vhd_header_behind_the_end(image: Forge) -> None:
    change_footers(image, 16, struct.pack(">Q", 1 << 62))


@defect("vhd-fixed-data-offset", W, "footer", FIXED_END + 16, start=fixed)
def vhd_fixed_with_a_header(image: Forge) -> None:
    change_footers(image, 16, struct.pack(">Q", 512))


@defect("vhd-disk-size", E, "footer", FIXED_END + 48, start=fixed)
def vhd_of_half_a_sector(image: Forge) -> None:
    change_footers(image, 48, struct.pack(">Q", SIZE - 256))


@defect("vhd-original-size", W, "footer", FIXED_END + 40, start=fixed)
def vhd_made_of_half_a_sector(image: Forge) -> None:
    change_footers(image, 40, struct.pack(">Q", SIZE - 256))


@defect("vhd-disk-too-large", W, "footer", END + 48, start=dynamic, implies=("vhd-table-too-small", "vhd-geometry"))
def vhd_of_3_tib(image: Forge) -> None:
    change_footers(image, 48, struct.pack(">Q", 3 << 40))


@defect("vhd-fixed-file-short", E, "file", None, start=fixed, implies=("vhd-not-azure", "vhd-geometry"))
def vhd_fixed_cut_off(image: Forge) -> None:
    change_footers(image, 48, struct.pack(">Q", SIZE + MIB))


@defect("vhd-fixed-file-long", W, "file", None, start=fixed, implies=("vhd-not-azure", "vhd-geometry"))
def vhd_fixed_with_a_gap(image: Forge) -> None:
    change_footers(image, 48, struct.pack(">Q", SIZE - MIB))


@defect("vhd-size-by-geometry", INFO, "footer", FIXED_END + 56, start=fixed)
def vhd_of_virtual_pc(image: Forge) -> None:
    change_footers(image, 28, b"vpc ")


@defect("vhd-saved-state", W, "footer", FIXED_END + 84, start=fixed)
def vhd_of_a_suspended_machine(image: Forge) -> None:
    change_footers(image, 84, b"\1")


@defect("vhd-id-zero", W, "footer", FIXED_END + 68, start=fixed)
def vhd_without_id(image: Forge) -> None:
    change_footers(image, 68, bytes(16))


@defect("vhd-not-azure", INFO, "footer", None, start=fixed)
def vhd_of_ragged_size(image: Forge) -> None:
    image.truncate(SIZE - 512)
    image.write(SIZE - 512, footer(2, SIZE - 512, offset=(1 << 64) - 1))


@defect("vhd-header-signature", E, "dynamic header", HEADER, start=dynamic)
def vhd_without_header(image: Forge) -> None:
    image.write(HEADER, bytes(1024))


@defect("vhd-header-checksum", E, "dynamic header", HEADER + 36, start=dynamic)
def vhd_header_changed_by_hand(image: Forge) -> None:
    image.write(HEADER + 36, b"xxxx")


@defect("vhd-header-version", E, "dynamic header", HEADER + 24, start=dynamic)
def vhd_header_of_version_2(image: Forge) -> None:
    change_header(image, 24, b"\0\2")


@defect("vhd-header-minor-version", W, "dynamic header", HEADER + 24, start=dynamic)
def vhd_header_of_version_1_1(image: Forge) -> None:
    change_header(image, 24, struct.pack(">I", 0x10001))


@defect("vhd-header-next", W, "dynamic header", HEADER + 8, start=dynamic)
def vhd_header_that_goes_on(image: Forge) -> None:
    change_header(image, 8, struct.pack(">Q", 4096))


@defect("vhd-header-reserved", W, "dynamic header", HEADER + 800, start=dynamic)
def vhd_header_reserved_bytes(image: Forge) -> None:
    change_header(image, 800, b"x")


@defect("vhd-block-size", E, "dynamic header", HEADER + 32, start=dynamic)
def vhd_blocks_of_one_sector(image: Forge) -> None:
    change_header(image, 32, struct.pack(">I", 512))


@defect("vhd-parent-unused", W, "dynamic header", HEADER + 40, start=dynamic)
def vhd_dynamic_with_a_parent(image: Forge) -> None:
    change_header(image, 40, b"the parent's id!")


@defect("vhd-parent-id-zero", E, "dynamic header", HEADER + 40, start=differencing)
def vhd_parent_without_id(image: Forge) -> None:
    change_header(image, 40, bytes(16))


@defect("vhd-parent-name", W, "dynamic header", HEADER + 64, start=differencing)
def vhd_parent_without_name(image: Forge) -> None:
    change_header(image, 64, bytes(512))


@defect("vhd-locator-code", W, "parent locator", LOCATORS + 48, start=differencing)
def vhd_locator_of_an_unknown_platform(image: Forge) -> None:
    change_header(image, 576 + 48, b"BeOS")


@defect("vhd-locator-reserved", W, "parent locator", LOCATORS + 12, start=differencing)
def vhd_locator_reserved_bytes(image: Forge) -> None:
    change_header(image, 576 + 12, b"x")


@defect("vhd-locator-duplicate", W, "parent locator", LOCATORS + 24, start=differencing)
def vhd_locator_twice(image: Forge) -> None:
    change_header(image, 576 + 24, b"W2ru")


@defect("vhd-locator-beyond-end", E, "parent locator", LOCATORS, start=differencing)
def vhd_locator_behind_the_end(image: Forge) -> None:
    change_header(image, 576 + 16, struct.pack(">Q", 1 << 40))


@defect("vhd-locator-text", W, "parent locator", LOCATORS, start=differencing)
def vhd_locator_of_an_odd_length(image: Forge) -> None:
    change_header(image, 576 + 8, struct.pack(">I", 19))


@defect("vhd-locator-disagree", W, "parent locator", LOCATORS, start=differencing)
def vhd_locator_to_another_file(image: Forge) -> None:
    image.write(2048, ".\\bass.vhd".encode("utf-16-le"))


@defect("vhd-locator-empty", W, "parent locator", LOCATORS, start=differencing)
def vhd_locator_without_data(image: Forge) -> None:
    change_header(image, 576 + 8, bytes(4))


@defect("vhd-locator-space", W, "parent locator", LOCATORS + 4, start=differencing)
def vhd_locator_without_space(image: Forge) -> None:
    change_header(image, 576 + 4, bytes(4))


@defect("vhd-locator-no-path", W, "parent locator", LOCATORS, start=differencing)
def vhd_parent_by_its_name_alone(image: Forge) -> None:
    change_header(image, 576, bytes(192))


@defect("vhd-locator-none", E, "parent locator", LOCATORS, start=differencing, implies=("vhd-parent-name",))
def vhd_parent_without_any_path(image: Forge) -> None:
    change_header(image, 64, bytes(512 + 192))


@defect("vhd-overlap", E, "file", 1024, start=dynamic, implies=("vhd-table-padding", "vhd-bat-in-structure"))
def vhd_table_on_the_header(image: Forge) -> None:
    change_header(image, 16, struct.pack(">Q", 1024))


@defect("vhd-overlap", E, "file", TABLE + 4, start=differencing, implies=("vhd-locator-text",))
def vhd_locator_on_the_table(image: Forge) -> None:
    change_header(image, 576 + 16, struct.pack(">Q", TABLE + 4))


@defect("vhd-table-alignment", E, "block table", TABLE + 4, start=dynamic)
def vhd_table_off_the_grid(image: Forge) -> None:
    change_header(image, 16, struct.pack(">Q", TABLE + 4))


@defect("vhd-table-beyond-end", E, "block table", 1 << 40, start=dynamic)
def vhd_table_behind_the_end(image: Forge) -> None:
    change_header(image, 16, struct.pack(">Q", 1 << 40))


@defect("vhd-table-too-small", E, "block table", TABLE, start=dynamic)
def vhd_table_of_two_entries(image: Forge) -> None:
    change_header(image, 28, struct.pack(">I", 2))


@defect("vhd-table-too-large", INFO, "block table", TABLE, start=dynamic)
def vhd_table_of_four_entries(image: Forge) -> None:
    change_header(image, 28, struct.pack(">I", 4))


@defect("vhd-table-padding", INFO, "block table", TABLE + 12, start=dynamic)
def vhd_table_as_disk2vhd_pads_it(image: Forge) -> None:
    image.write(TABLE + 12, bytes(500))


@defect("vhd-bat-in-structure", E, "block table entry", TABLE + 4, start=dynamic)
def vhd_block_on_the_table(image: Forge) -> None:
    set_entry(image, 1, TABLE)


@defect("vhd-bat-in-structure", E, "block table entry", TABLE + 4, start=dynamic)
def vhd_block_on_the_copy(image: Forge) -> None:
    set_entry(image, 1, 0)


@defect("vhd-bat-beyond-end", E, "block table entry", TABLE + 4, start=dynamic)
def vhd_block_behind_the_end(image: Forge) -> None:
    image.write(TABLE + 4, b"\xff\xff\xff\xfe")


@defect("vhd-bat-beyond-end", E, "block table entry", TABLE + 4, start=dynamic)
def vhd_block_on_the_footer(image: Forge) -> None:
    set_entry(image, 1, END - BLOCK)


@defect("vhd-bat-overlap", E, "block table entry", TABLE + 8, start=dynamic)
def vhd_two_blocks_on_one_place(image: Forge) -> None:
    set_entry(image, 2, FIRST)


@defect("vhd-bat-overlap", E, "block table entry", TABLE + 8, start=dynamic)
def vhd_blocks_that_share_a_sector(image: Forge) -> None:
    set_entry(image, 2, FIRST + BLOCK)


@defect("vhd-bat-overlap", E, "block table entry", TABLE + 4, start=dynamic, also=(TABLE + 8,))
def vhd_three_blocks_on_one_place(image: Forge) -> None:
    set_entry(image, 1, FIRST)
    set_entry(image, 2, FIRST)


@defect("vhd-bat-overlap", E, "block table entry", TABLE + 8, start=dynamic, also=(TABLE + 8,))
def vhd_blocks_of_which_the_middle_one_overlaps_both(image: Forge) -> None:
    set_entry(image, 1, FIRST + BLOCK + 512)
    set_entry(image, 2, FIRST + 4096)


@defect("vhd-bitmap-cleared", W, "sector bitmap", FIRST, start=dynamic)
def vhd_block_of_which_no_bit_is_set(image: Forge) -> None:
    image.write(FIRST, bytes(512))


@defect("vhd-bitmap-cleared", W, "sector bitmap", FIRST + 512 + BLOCK, start=dynamic)
def vhd_block_of_which_one_bit_is_not_set(image: Forge) -> None:
    image.write(FIRST + 512 + BLOCK + 255, b"\xfe")


@defect("vhd-bat-beyond-disk", W, "block table", TABLE + 12, start=dynamic, implies=("vhd-table-too-large",))
def vhd_block_behind_the_disk(image: Forge) -> None:
    change_header(image, 28, struct.pack(">I", 4))
    set_entry(image, 3, FIRST)


@defect("vhd-bitmap-beyond-disk", W, "sector bitmap", 3072 + 512 + BLOCK, start=differencing)
def vhd_bits_behind_the_disk(image: Forge) -> None:
    image.write(3072 + 512 + BLOCK + 256, b"\x80")


@defect("blocks-all-zero", INFO, "payload block", TABLE, start=dynamic, deep=True)
def vhd_block_of_zeros(image: Forge) -> None:
    image.write(FIRST + 512, bytes(BLOCK))
