"""``vhdx-inspect info`` of a plain image, at once: without the engine, whose loading takes most of the time.

Plain is a sound VHD or VHDX on this machine without a parent, a log to replay or anything odd. What is said of one is
what the engine says, word for word; of everything else nothing is said, and the engine is asked. So every rule that the
engine has for opening is here too, or something stricter. `tests/cli/test_glance.py` holds the two together, and the
places of fields to the declarations in `vhdx.format`.
"""

import os
import stat
from itertools import pairwise
from struct import Struct

from vhdx.cli.looking.info_text import info_lines
from vhdx.cli.plain import escaped, json_text
from vhdx.format import checksum, vhd_checksum

TYPE_CHECKING = False  # typing takes longer to load than all of this
if TYPE_CHECKING:
    from typing import Any

_MIB = 1 << 20
_SECTOR = 512
_VHDX_MARK = b"vhdxfile"
_VHD_MARKS = (b"conectix", b"v_poison")

IDENTIFIER = Struct("<8s512s")
HEADER = Struct("<4s4s Q16s16s16s HHIQ")
REGION_HEADER = Struct("<4s4s II")
REGION_ENTRY = Struct("<16s QII")
TABLE_HEADER = Struct("<8s HH20s")
TABLE_ENTRY = Struct("<16s IIII")
PARAMETERS = Struct("<II")
FOOTER = Struct(">8s IIQI4sI4s QQHBBI 4s16sB427s")
DYNAMIC = Struct(">8s QQIII")
"""The fields of each structure as far as they are looked at (MS-VHDX 2.2, 2.6; VHD 1.0); checksums are bytes here."""

_HEADERS = (64 << 10, 128 << 10)
_HEADER_SIZE = 4 << 10
_REGIONS = 192 << 10
_TABLE = 64 << 10
_AHEAD = 1 << 10, 4 << 10  # of the metadata table, and of the items behind it
_DYNAMIC_SIZE = 1024
_LARGEST_DISK = 64 << 40
_FIXED, _DYNAMIC = 2, 3
_MISREAD = (b"vpc ", b"vs  ", b"qemu")
"""Creators of a VHD of which there may be a warning."""


def _stored(guid: str) -> bytes:
    """A GUID as Windows stores it."""
    raw = bytes.fromhex(guid.replace("-", ""))
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]


def _text(raw: bytes) -> str:
    """The same the other way round."""
    return _plain(raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:])


def _plain(raw: bytes) -> str:
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


_BAT = _stored("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = _stored("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_LONGEST = {_BAT: 513 << 20, _METADATA: 128 << 20}
_PARAMETERS = _stored("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_SIZE = _stored("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_DISK_ID = _stored("beca12ab-b2e6-4523-93ef-c309e000c746")
_LOGICAL = _stored("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PHYSICAL = _stored("cda348c7-445d-4471-9cc9-e9885251c556")
_ITEMS = {_PARAMETERS: (8, 4), _SIZE: (8, 2), _DISK_ID: (16, 2), _LOGICAL: (4, 2), _PHYSICAL: (4, 2)}
"""How long each item is, and the flags that it must have: 2 is of the disk, 4 is required."""
_DISK, _REQUIRED = 2, 4


class _NotPlain(Exception):
    """Something that the engine has to look at."""


def _only(plain: object) -> None:
    if not plain:
        raise _NotPlain


def info(location: str, *, as_json: bool) -> str:
    """What ``info`` prints of a plain image; empty of anything else."""
    record = glance(location)
    if record is None:
        return ""
    if as_json:
        return json_text(record) + "\n"
    return "".join(f"{escaped(line)}\n" for line in info_lines(record))


def glance(location: str) -> "dict[str, Any] | None":
    """The record of the image at *location*, as `image_json.info_json` makes it; None: ask the engine."""
    path = _local(location)
    if path is None:
        return None
    try:
        # Nothing but a regular file is opened: it could hang, or move a tape.
        _only(stat.S_ISREG(os.stat(path).st_mode))  # noqa: PTH116  pathlib is not loaded
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            _only(stat.S_ISREG(status.st_mode))
            found = _look(fd, status.st_size)
            status = os.fstat(fd)
        finally:
            os.close(fd)
    except (OSError, _NotPlain):
        return None
    found.update(path=path, file_size=status.st_size, allocated=status.st_blocks * 512)
    return {key: found[key] for key in _KEYS}


_KEYS = (
    "path",
    "format",
    "type",
    "virtual_size",
    "file_size",
    "allocated",
    "block_size",
    "logical_sector_size",
    "physical_sector_size",
    "disk_id",
    "creator",
    "log",
    "parent",
    "warnings",
    "linkage",
)


def _local(location: str) -> str | None:
    """The absolute path that a location is; None for a share, and for whatever needs a second look."""
    names = [name for name in location.split("/") if name not in {"", "."}]
    odd = not names or ".." in names or "\\" in location or ":" in location or not location.isprintable()
    if odd or location.startswith("//") or location.endswith(("/", "/.")):
        return None
    try:
        start = "" if location.startswith("/") else os.getcwd().rstrip("/")  # noqa: PTH109
    except OSError:
        return None
    return None if start.startswith("//") or not start.isprintable() else f"{start}/{'/'.join(names)}"


def _look(fd: int, size: int) -> "dict[str, Any]":
    head = os.pread(fd, IDENTIFIER.size, 0)
    tail = os.pread(fd, _SECTOR, max(size - _SECTOR, 0))
    if head.startswith(_VHDX_MARK):
        _only(not any(data.startswith(_VHD_MARKS) for data in (tail, tail[1:])))
        return _vhdx(fd, size, head)
    _only(tail.startswith(_VHD_MARKS[0]))
    return _vhd(fd, size, head[:_SECTOR], tail)


def _read(fd: int, length: int, offset: int) -> bytes:
    data = os.pread(fd, length, offset)
    _only(len(data) == length)
    return data


def _vhdx(fd: int, size: int, head: bytes) -> "dict[str, Any]":
    _only(size >= _MIB and len(head) == IDENTIFIER.size)
    linkage, log = _header([_read(fd, _HEADER_SIZE, offset) for offset in _HEADERS])
    regions = _regions(_read(fd, _TABLE, _REGIONS), size, log)
    place, length = regions[_METADATA]
    # A region is a MiB at least.
    items = _items(_read(fd, _AHEAD[0], place), _read(fd, _AHEAD[1], place + _TABLE), length)
    block, flags = PARAMETERS.unpack(items[_PARAMETERS])
    disk, logical, physical = (int.from_bytes(items[item], "little") for item in (_SIZE, _LOGICAL, _PHYSICAL))
    _only(not flags & ~1 and not block & (block - 1) and _MIB <= block <= 256 * _MIB)
    _only(logical in {512, 4096} and physical in {512, 4096})
    _only(0 < disk <= _LARGEST_DISK and not disk % logical)
    blocks = -(-disk // block)
    chunks = -(-blocks // ((logical << 23) // block))
    _only((blocks + chunks - 1) * 8 <= regions[_BAT][1])
    return {
        "format": "vhdx",
        "type": "fixed" if flags & 1 else "dynamic",
        "virtual_size": disk,
        "block_size": block,
        "logical_sector_size": logical,
        "physical_sector_size": physical,
        "disk_id": _text(items[_DISK_ID]),
        "creator": IDENTIFIER.unpack(head)[1].decode("utf-16-le", "replace").split("\0", 1)[0],
        "log": {"state": "clean", "entries": 0},
        "parent": None,
        "warnings": [],
        "linkage": _text(linkage),
    }


def _header(copies: list[bytes]) -> tuple[bytes, tuple[int, int]]:
    """The DataWriteGuid and the place of the log, which is empty; both copies have to be sound."""
    _only(all(copy.startswith(b"head") and checksum.is_sealed(copy, field=4) for copy in copies))
    older, newer = sorted((HEADER.unpack_from(copy) for copy in copies), key=lambda header: header[2])
    _only(older[2] != newer[2])
    *_, linkage, log_id, _log_version, version, length, offset = newer
    _only(version == 1 and not any(log_id))
    _only(not offset % _MIB and not length % _MIB and (not length or offset >= _MIB))
    return linkage, (offset, length)


def _regions(table: bytes, size: int, log: tuple[int, int]) -> dict[bytes, tuple[int, int]]:
    """The places of BAT and metadata, by their ids; there must be no other region."""
    signature, _, count, reserved = REGION_HEADER.unpack_from(table)
    _only(signature == b"regi" and checksum.is_sealed(table, field=4) and count == 2 and not reserved)
    found = {}
    for number in range(count):
        guid, offset, length, flags = REGION_ENTRY.unpack_from(table, REGION_HEADER.size + number * REGION_ENTRY.size)
        _only(not offset % _MIB and not length % _MIB and length and offset >= _MIB and offset + length <= size)
        _only(length <= _LONGEST.get(guid, 0) and not flags & ~1)
        found[guid] = offset, length
    _only(len(found) == count)
    _apart([*found.values(), log] if log[1] else list(found.values()))
    return found


def _items(table: bytes, ahead: bytes, region: int) -> dict[bytes, bytes]:
    """The five items that every disk has, which must be all there are and lie where writers put them."""
    signature, reserved, count, padding = TABLE_HEADER.unpack_from(table)
    _only(signature == b"metadata" and not reserved and not any(padding) and count == len(_ITEMS))
    found, places = {}, []
    for number in range(count):
        at = TABLE_HEADER.size + number * TABLE_ENTRY.size
        item, offset, length, flags, reserved = TABLE_ENTRY.unpack_from(table, at)
        wanted, needed = _ITEMS.get(item, (0, 0))
        _only(wanted and length == wanted and not reserved and not flags & ~(_DISK | _REQUIRED))
        _only(flags & needed == needed and not flags & _DISK & ~needed)
        _only(_TABLE <= offset <= offset + length <= min(_TABLE + _AHEAD[1], region))
        found[item] = ahead[offset - _TABLE :][:length]
        places.append((offset, length))
    _only(len(found) == count)
    _apart(places)
    return found


def _apart(places: list[tuple[int, int]]) -> None:
    places = sorted(places)
    _only(all(place[0] + place[1] <= behind[0] for place, behind in pairwise(places)))


def _vhd(fd: int, size: int, start: bytes, tail: bytes) -> "dict[str, Any]":
    _only(len(tail) == _SECTOR and vhd_checksum.is_sealed(tail, field=64))
    (_, _, version, place, _, creator, made_by, host, _, disk, _, _, _, kind, _, unique, saved, _) = FOOTER.unpack(tail)
    _only(version >> 16 == 1 and creator not in _MISREAD and not saved and disk and not disk % _SECTOR)
    if kind == _FIXED:
        _only(disk <= size - _SECTOR)
        block = None
    else:
        _only(kind == _DYNAMIC and start == tail)
        block = _block_size(fd, size, place, disk)
    app, system = map(_letters, (creator, host))
    return {
        "format": "vhd",
        "type": "fixed" if block is None else "dynamic",
        "virtual_size": disk,
        "block_size": block,
        "logical_sector_size": _SECTOR,
        "physical_sector_size": _SECTOR,
        "disk_id": _plain(unique),
        "creator": f"{app} v{made_by >> 16}.{made_by & 0xFFFF} {system}".strip(),
        "log": {"state": "none", "entries": 0},
        "parent": None,
        "warnings": [],
        "linkage": _plain(unique),
    }


def _letters(text: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text.rstrip(b"\0 "))


def _block_size(fd: int, size: int, place: int, disk: int) -> int:
    """What the dynamic header at *place* says."""
    _only(not place % _SECTOR and _SECTOR <= place <= place + _DYNAMIC_SIZE <= size)
    header = _read(fd, _DYNAMIC_SIZE, place)
    cookie, _, table, version, entries, block = DYNAMIC.unpack_from(header)
    _only(cookie == b"cxsparse" and vhd_checksum.is_sealed(header, field=36) and version >> 16 == 1)
    _only(not block & (block - 1) and 4096 <= block <= 256 << 20 and not table % _SECTOR)
    blocks = -(-disk // block)
    _only(blocks <= entries and table + blocks * 4 <= size)
    _apart([(0, _SECTOR), (place, _DYNAMIC_SIZE), (table, blocks * 4)])
    return int(block)
