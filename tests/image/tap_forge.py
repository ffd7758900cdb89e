"""VHDs as blktap lays them out, and its rules for them; independent of the package.

Header, block table, map of full blocks and parent locators stand in this order in front of the blocks, each in whole
sectors. `broken_rules` is what tapdisk and vhd-util's check hold a file to.
"""

import struct
from itertools import pairwise

from tests.check.vhd_images import sealed
from tests.image.vhd_forge import SECTOR, file_bytes
from vhdx.storage.base import FileSystem

_FOOTER = struct.Struct(">8sIIQI4sI4sQQ")
_HEADER = struct.Struct(">8sQQIII")
_BATMAP = struct.Struct(">8sQIII")
_LOCATOR = struct.Struct(">4sIIIQ")
UNUSED = 0xFFFFFFFF
VERSION = 0x00010003
MARKER = b"what else the header holds"


def whole(length: int) -> int:
    return -(-length // SECTOR) * SECTOR


class Parsed:
    """The structures of a VHD with blocks, by its footer at the end or, where that was lost, the copy of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        end = data[-SECTOR:]
        self.footer = end if end.startswith(b"conectix") and sealed(end, 64) == end else data[:SECTOR]
        fields = _FOOTER.unpack_from(self.footer)
        self.header_at, self.creator, self.version, self.size = fields[3], fields[5], fields[6], fields[9]
        self.header = data[self.header_at : self.header_at + 1024]
        _, _, self.table, _, self.entries, self.block = _HEADER.unpack_from(self.header)
        self.differencing = self.footer[63] == 4
        self.blocks = -(-self.size // self.block)
        self.bitmap = whole(-(-self.block // SECTOR // 8))
        self.bat = struct.unpack_from(f">{self.entries}I", data, self.table)
        self.batmap = self.table + whole(4 * self.entries)

    @property
    def locators(self) -> list[tuple[bytes, int, int, int]]:
        """Code, bytes set aside, length, offset."""
        rows = [_LOCATOR.unpack_from(self.header, 576 + 24 * number) for number in range(8)]
        return [(code, space, length, at) for code, space, length, _, at in rows if any(code)]

    def is_full(self, block: int) -> bool:
        """Whether the block's own bitmap says so, of the sectors inside the disk."""
        at = self.bat[block] * SECTOR
        inside = min(self.block, self.size - block * self.block) // SECTOR
        bits = "".join(f"{byte:08b}" for byte in self.data[at : at + self.bitmap])
        return "0" not in bits[:inside]


def made_by_blktap(files: FileSystem, path: str, *, entries: int = 0, version: int = VERSION) -> None:
    """Lay the image at *path* out anew; *entries* is the least number that its table has."""
    old = Parsed(file_bytes(files, path))
    count = max(entries, old.blocks)
    table = SECTOR + 1024
    batmap = table + whole(4 * count)
    sectors = -(-max(count // 8, 1) // SECTOR)
    at = batmap + SECTOR + sectors * SECTOR
    locators = texts = b""
    for code, _, length, place in old.locators:
        locators += _LOCATOR.pack(code, whole(length), length, 0, at)
        texts += old.data[place : place + length].ljust(whole(length), b"\0")
        at += whole(length)
    bat, bits, body = [UNUSED] * count, bytearray(sectors * SECTOR), b""
    for block in range(old.blocks):
        place = old.bat[block]
        if place != UNUSED:
            bat[block] = (at + len(body)) // SECTOR
            body += old.data[place * SECTOR : place * SECTOR + old.bitmap + old.block]
            bits[block // 8] |= old.is_full(block) << 7 - block % 8
    creator = b"tap\0" + struct.pack(">I", version)
    footer = sealed(old.footer[:16] + struct.pack(">Q", SECTOR) + old.footer[24:28] + creator + old.footer[36:], 64)
    fields = old.header[:16] + struct.pack(">QII", table, 0x10000, count) + old.header[32:576]
    header = sealed(fields + locators.ljust(448, b"\0"), 36)
    head = _BATMAP.pack(b"tdbatmap", batmap + SECTOR, sectors, 0x00010002, ~sum(bits) & 0xFFFFFFFF) + MARKER
    data = footer + header + struct.pack(f">{count}I", *bat).ljust(whole(4 * count), b"\0")
    data += head.ljust(SECTOR, b"\0") + bits + texts + body + footer
    storage = files.create(f"{path} of blktap")
    storage.write([(0, data)])
    storage.flush()
    storage.close()
    files.rename(f"{path} of blktap", path, replace=True)


def broken_rules(data: bytes, *, at_rest: bool = True) -> list[str]:
    """What blktap would refuse. While a change is under way only the rules of opening and reading hold."""
    disk = Parsed(data)
    if not disk.creator.startswith(b"tap"):
        return []
    found = []
    if disk.version > VERSION:
        found.append("version")
    found += _batmap_rules(disk, at_rest=at_rest)
    spans = sorted(place * SECTOR for place in disk.bat if place != UNUSED)
    front = max(disk.header_at + 1024, disk.table + whole(4 * disk.entries))
    if at_rest:
        if data[:SECTOR] != data[-SECTOR:]:
            found.append("the footers differ")
        front = max([front, disk.batmap + SECTOR, *(at + space for _, space, _, at in disk.locators)])
        offset, sectors = _BATMAP.unpack_from(data, disk.batmap)[1:3]
        front = max(front, offset + sectors * SECTOR)
        if spans and spans[0] < front:
            found.append(f"the block at {spans[0]} clobbers headers, which end at {front}")
    span = disk.bitmap + disk.block
    return found + [f"the blocks at {one} and {two} overlap" for one, two in pairwise(spans) if two - one < span]


def _batmap_rules(disk: Parsed, *, at_rest: bool) -> list[str]:
    data, head = disk.data, disk.batmap
    cookie, offset, sectors, version, checksum = _BATMAP.unpack_from(data, head)
    if cookie != b"tdbatmap":
        return [f"no batmap at {head}"]
    bits = data[offset : offset + sectors * SECTOR]
    found = []
    if version > 0x00010002 or not sectors or offset % SECTOR or len(bits) < sectors * SECTOR:
        found.append(f"batmap header: {version:#x}, {sectors} sectors at {offset}")
    if ~sum(bits) & 0xFFFFFFFF != checksum:
        found.append("batmap checksum")
    if not data[head + _BATMAP.size :].startswith(MARKER):
        found.append("the rest of the batmap header is lost")
    if len(bits) < disk.entries // 8:
        found.append("the batmap is too short")
    if at_rest and offset != head + SECTOR:
        found.append(f"the bits at {offset} do not follow the header at {head}")
    for block in range(min(disk.entries, 8 * len(bits))):
        if not bits[block // 8] << block % 8 & 0x80:
            continue
        if disk.bat[block] == UNUSED:
            found += [f"unallocated block {block} is called full"] * at_rest
        elif block < disk.blocks and not disk.is_full(block):
            found.append(f"block {block} is called full and is not")
    return found


def called_full(data: bytes) -> int:
    """How many blocks the map calls full."""
    disk = Parsed(data)
    offset, sectors = _BATMAP.unpack_from(data, disk.batmap)[1:3]
    return int.from_bytes(data[offset : offset + sectors * SECTOR], "big").bit_count()
