"""VHDs packed by hand from the specification's tables, independent of the package; checksums included."""

import struct

from tests.format.raw import MIB
from tests.image.forge import Forge
from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem

SIZE = 5 * MIB
BLOCK = 2 * MIB
HEADER, TABLE = 512, 1536
NONE = (1 << 64) - 1


def sealed(data: bytes, field: int) -> bytes:
    """*data* with the complement of the sum of its other bytes at *field*."""
    blank = data[:field] + bytes(4) + data[field + 4 :]
    return blank[:field] + struct.pack(">I", ~sum(blank) & 0xFFFFFFFF) + blank[field + 4 :]


WINDOWS, TAPDISK = (b"win ", 0xA0000), (b"tap\0", 0x10003)


def footer(
    kind: int,
    size: int = SIZE,
    *,
    offset: int = HEADER,
    creator: tuple[bytes, int] = WINDOWS,
    identity: bytes = b"unique identity!",
) -> bytes:
    fields = struct.pack(">8sIIQI4sI4s", b"conectix", 2, 0x10000, offset, 1000, *creator, b"Wi2k")
    fields += struct.pack(">QQHBBI", size, size, 150, 4, 17, kind)
    return sealed((fields + bytes(4) + identity).ljust(512, b"\0"), 64)


def header(*, parent: bytes = bytes(16), name: str = "", locators: bytes = b"", entries: int = 3) -> bytes:
    fields = struct.pack(">8sQQIII4x", b"cxsparse", NONE, TABLE, 0x10000, entries, BLOCK) + parent + bytes(8)
    fields += name.encode("utf-16-be").ljust(512, b"\0") + locators.ljust(192, b"\0")
    return sealed(fields.ljust(1024, b"\0"), 36)


def image(
    kind: int, head: bytes, first: int, middle: bytes = b"", *, creator: tuple[bytes, int] = WINDOWS
) -> MemoryFileSystem:
    """Blocks 0 and 2, of which the last holds half a block of the disk, from byte *first* on."""
    files = MemoryFileSystem()
    storage = files.create("disk.vhdx")
    second = first + 512 + BLOCK
    table = struct.pack(">III", first // 512, 0xFFFFFFFF, second // 512).ljust(512, b"\xff")
    end = footer(kind, creator=creator)
    front = (end + head + table + middle).ljust(first, b"\0")
    blocks = b"\xff" * 512 + pattern(1, BLOCK) + b"\xff" * 256 + bytes(256) + pattern(2, BLOCK)
    storage.write([(0, front + blocks + end)])
    storage.close()
    return files


def dynamic() -> MemoryFileSystem:
    return image(3, header(), 2048)


def differencing() -> MemoryFileSystem:
    """Relative path at 2048, absolute one at 2560; blocks from 3072 on."""
    relative, absolute = (path.encode("utf-16-le") for path in (".\\base.vhd", "C:\\vm\\base.vhd"))
    locators = struct.pack(">4sIIIQ", b"W2ru", 512, len(relative), 0, 2048)
    locators += struct.pack(">4sIIIQ", b"W2ku", 512, len(absolute), 0, 2560)
    head = header(parent=b"the parent's id!", name="base.vhd", locators=locators)
    return image(4, head, 3072, relative.ljust(512, b"\0") + absolute.ljust(512, b"\0"))


def mapped() -> MemoryFileSystem:
    """`dynamic` as tapdisk makes it, with a map of full blocks behind the table: of it the header, then the bits."""
    return image(3, header(), 3072, batmap(b"\xa0"), creator=TAPDISK)


def batmap(bits: bytes) -> bytes:
    """A map at 2048."""
    bits = bits.ljust(512, b"\0")
    return struct.pack(">8sQIII", b"tdbatmap", 2560, 1, 0x00010002, ~sum(bits) & 0xFFFFFFFF).ljust(512, b"\0") + bits


def chained() -> MemoryFileSystem:
    """`differencing` over its parent, a fixed disk."""
    files = differencing()
    storage = files.create("base.vhd")
    end = footer(2, offset=NONE, identity=b"the parent's id!")
    storage.write([(0, pattern(3, SIZE) + end)])
    storage.close()
    return files


def fixed() -> MemoryFileSystem:
    files = MemoryFileSystem()
    storage = files.create("disk.vhdx")
    storage.write([(0, pattern(1, SIZE) + footer(2, offset=NONE))])
    storage.close()
    return files


def change_header(made: Forge, place: int, data: bytes) -> None:
    """Change the dynamic header and repair its checksum."""
    head = made.read(HEADER, 1024)
    made.write(HEADER, sealed(head[:place] + data + head[place + len(data) :], 36))


def change_footers(made: Forge, place: int, data: bytes) -> None:
    """Change the footer and, where there is one, its copy; repair the checksums."""
    for offset in (0, made.size - 512):
        old = made.read(offset, 512)
        if old[:8] == b"conectix":
            made.write(offset, sealed(old[:place] + data + old[place + len(data) :], 64))
