"""Lies about what a VHD says of its making, about space that nothing refers to, and in the map of blktap."""

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
    mapped,
)
from tests.image.forge import Forge

FIRST = 2048  # the first block of `dynamic`
SPAN = BLOCK + 512
END = FIRST + 2 * SPAN  # its footer
DIFFERENCING_END = 3072 + 2 * SPAN
MAP, BITS, FIRST_MAPPED = 2048, 2560, 3072


@defect("vhd-timestamp-future", INFO, "footer", SIZE + 24, start=fixed)
def vhd_of_2136(image: Forge) -> None:
    change_footers(image, 24, b"\xff\xff\xff\xff")


@defect("vhd-creator", INFO, "footer", END + 28, start=dynamic)
def vhd_of_an_unknown_program(image: Forge) -> None:
    change_footers(image, 28, b"Who?")


@defect("vhd-geometry", INFO, "footer", SIZE + 56, start=fixed)
def vhd_whose_drive_is_too_large(image: Forge) -> None:
    change_footers(image, 56, struct.pack(">HBB", 151, 4, 17))


@defect("vhd-geometry", INFO, "footer", END + 56, start=dynamic)
def vhd_whose_drive_did_not_grow(image: Forge) -> None:
    change_footers(image, 56, struct.pack(">HBB", 149, 4, 17))


@defect("vhd-geometry", INFO, "footer", SIZE + 56, start=fixed)
def vhd_without_a_drive(image: Forge) -> None:
    change_footers(image, 56, bytes(4))


@defect("vhd-parent-unused", W, "dynamic header", HEADER + 56, start=dynamic)
def vhd_dynamic_with_the_time_of_a_parent(image: Forge) -> None:
    change_header(image, 56, b"\0\0\0\1")


@defect("space-unused", INFO, "file", None, start=dynamic)
def vhd_block_that_nothing_names(image: Forge) -> None:
    image.write(TABLE, b"\xff\xff\xff\xff")


@defect("space-unused", INFO, "file", None, start=differencing)
def vhd_last_block_that_nothing_names(image: Forge) -> None:
    image.write(TABLE + 8, b"\xff\xff\xff\xff")


@defect("space-unused", INFO, "file", None, start=dynamic)
def vhd_stopped_while_it_grew(image: Forge) -> None:
    image.write(END, bytes(SPAN))
    image.write(END + SPAN, footer(3))


@defect("vhd-bitmap-order", E, "footer", DIFFERENCING_END + 28, start=differencing)
def vhd_of_the_first_tapdisk(image: Forge) -> None:
    change_footers(image, 28, b"tap\0\0\0\0\1")


@defect("vhd-hidden", INFO, "footer", FIRST_MAPPED + 2 * SPAN + 85, start=mapped)
def vhd_hidden_by_xenserver(image: Forge) -> None:
    change_footers(image, 85, b"\1")


@defect("vhd-batmap-missing", W, "batmap", MAP, start=mapped)
def vhd_map_lost_on_growth(image: Forge) -> None:
    image.write(MAP, bytes(1024))


@defect("vhd-batmap-missing", W, "batmap", MAP, start=mapped)
def vhd_map_of_an_unknown_version(image: Forge) -> None:
    image.write(MAP + 20, struct.pack(">I", 0x10003))


@defect("vhd-batmap-full", W, "batmap", BITS, start=mapped)
def vhd_full_block_that_has_no_place(image: Forge) -> None:
    image.write(MAP + 24, (~0xE0 & 0xFFFFFFFF).to_bytes(4, "big"))
    image.write(BITS, b"\xe0")


@defect("vhd-batmap-place", W, "batmap", MAP, start=mapped)
def vhd_map_behind_the_end(image: Forge) -> None:
    image.write(MAP + 8, struct.pack(">Q", 1 << 40))


@defect("vhd-batmap-checksum", W, "batmap", MAP, start=mapped)
def vhd_map_changed_by_hand(image: Forge) -> None:
    image.write(BITS, b"\xff")


@defect("vhd-batmap-full", W, "batmap", BITS, start=mapped)
def vhd_full_block_with_a_hole(image: Forge) -> None:
    image.write(FIRST_MAPPED + 511, b"\xfe")


@defect("vhd-batmap-full", W, "batmap", BITS, start=mapped)
def vhd_full_last_block_with_a_hole(image: Forge) -> None:
    image.write(FIRST_MAPPED + SPAN, b"\x7f")


@defect("vhd-bat-in-structure", E, "block table entry", TABLE + 4, start=mapped)
def vhd_block_on_the_map(image: Forge) -> None:
    image.write(TABLE + 4, struct.pack(">I", BITS // 512))


@defect("vhd-overlap", E, "file", TABLE, start=mapped)
def vhd_map_on_the_table(image: Forge) -> None:
    checksum = ~sum(image.read(TABLE, 512)) & 0xFFFFFFFF
    image.write(MAP + 8, struct.pack(">QIII", TABLE, 1, 0x10002, checksum))
