"""Structures packed by hand from the specification's tables, independent of the package; checksums included."""

import struct
from uuid import UUID

import google_crc32c

MIB = 1 << 20
PAGE = 4096
FILE_GUID, DATA_GUID, NO_GUID = UUID(int=1), UUID(int=2), UUID(int=0)
BAT_REGION = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA_REGION = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
LOCATOR_TYPE = UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")


def sealed(data: bytes) -> bytes:
    """*data* with the CRC-32C of itself at offset 4, counted with that field zero."""
    blank = data[:4] + bytes(4) + data[8:]
    return blank[:4] + struct.pack("<I", google_crc32c.value(blank)) + blank[8:]


def header(
    sequence: int = 1,
    *,
    file_guid: UUID = FILE_GUID,
    data_guid: UUID = DATA_GUID,
    log_guid: UUID = NO_GUID,
    log_version: int = 0,
    version: int = 1,
    log_length: int = MIB,
    log_offset: int = MIB,
) -> bytes:
    """4 KiB of a header."""
    guids = b"".join(guid.bytes_le for guid in (file_guid, data_guid, log_guid))
    fixed = struct.pack("<4s4xQ48sHHIQ", b"head", sequence, guids, log_version, version, log_length, log_offset)
    return sealed(fixed.ljust(PAGE, b"\0"))


def region_table(*entries: tuple[UUID, int, int, int], count: int | None = None, reserved: int = 0) -> bytes:
    """64 KiB of a region table of (GUID, offset, length, flags)."""
    head = struct.pack("<4s4xII", b"regi", len(entries) if count is None else count, reserved)
    rows = b"".join(struct.pack("<16sQII", guid.bytes_le, *rest) for guid, *rest in entries)
    return sealed((head + rows).ljust(64 << 10, b"\0"))


def metadata_table(
    *entries: tuple[UUID, int, int, int, int], count: int | None = None, reserved: int = 0, padding: bytes = bytes(20)
) -> bytes:
    """64 KiB of a metadata table of (item, offset, length, flags, reserved)."""
    head = struct.pack("<8sHH20s", b"metadata", reserved, len(entries) if count is None else count, padding)
    rows = b"".join(struct.pack("<16sIIII", guid.bytes_le, *rest) for guid, *rest in entries)
    return (head + rows).ljust(64 << 10, b"\0")


def locator(pairs: list[tuple[bytes, bytes]], *, kind: UUID = LOCATOR_TYPE, reserved: int = 0) -> bytes:
    """A parent-locator item of encoded keys and values, texts behind the table in order."""
    head = struct.pack("<16sHH", kind.bytes_le, reserved, len(pairs))
    at = len(head) + 12 * len(pairs)
    rows = texts = b""
    for key, value in pairs:
        rows += struct.pack("<IIHH", at, at + len(key), len(key), len(value))
        texts += key + value
        at += len(key) + len(value)
    return head + rows + texts


def log_entry(
    guid: UUID,
    sequence: int,
    *changes: tuple[int, bytes | int],
    tail: int = 0,
    flushed: int = 4 * MIB,
    last: int = 4 * MIB,
    length: int | None = None,
    count: int | None = None,
    descriptor_sequence: int | None = None,
    sector_sequence: int | None = None,
    descriptor_signature: bytes | None = None,
    sector_signature: bytes = b"data",
) -> bytes:
    """A log entry of pages (offset, 4 KiB) and zero ranges (offset, length); options override what is right."""
    of_descriptor = sequence if descriptor_sequence is None else descriptor_sequence
    of_sector = sequence if sector_sequence is None else sector_sequence
    rows = sectors = b""
    for offset, content in changes:
        if isinstance(content, int):
            mark = descriptor_signature or b"zero"
            rows += struct.pack("<4s4xQQQ", mark, content, offset, of_descriptor)
            continue
        mark = descriptor_signature or b"desc"
        rows += struct.pack("<4s4s8sQQ", mark, content[4092:], content[:8], offset, of_descriptor)
        high, low = of_sector >> 32, of_sector & 0xFFFFFFFF
        sectors += struct.pack("<4sI4084sI", sector_signature, high, content[8:4092], low)
    table = -(-(64 + len(rows)) // PAGE) * PAGE
    head = struct.pack(
        "<4s4xIIQI4x16sQQ",
        b"loge",
        table + len(sectors) if length is None else length,
        tail,
        sequence,
        len(changes) if count is None else count,
        guid.bytes_le,
        flushed,
        last,
    )
    return sealed((head + rows).ljust(table, b"\0") + sectors)


def ring(length: int, *entries: tuple[int, bytes]) -> bytes:
    """A log of *length* bytes with entries at given offsets, those that reach the end going on at the start."""
    content = bytearray(length)
    for offset, entry in entries:
        first = min(len(entry), length - offset)
        content[offset : offset + first] = entry[:first]
        content[: len(entry) - first] = entry[first:]
    return bytes(content)
