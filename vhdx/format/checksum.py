"""CRC-32C as MS-VHDX uses it: over a structure with its own checksum field taken as zero."""

import struct
from collections.abc import Iterable

import google_crc32c

_FIELD = struct.Struct("<I")


def crc32c(data: bytes | bytearray | memoryview, *, field: int) -> int:
    """CRC-32C of *data* with the four bytes at *field* taken as zero."""
    head = google_crc32c.value(bytes(data[:field]))
    middle = google_crc32c.extend(head, bytes(4))
    return int(google_crc32c.extend(middle, bytes(data[field + 4 :])))


def crc32c_of(pieces: Iterable[bytes | bytearray | memoryview], *, field: int) -> int:
    """CRC-32C of concatenated *pieces*; the checksum field is in the first one."""
    value = None
    for piece in pieces:
        value = crc32c(piece, field=field) if value is None else int(google_crc32c.extend(value, bytes(piece)))
    return value or 0


def is_sealed(data: bytes | bytearray | memoryview, *, field: int) -> bool:
    """Whether the checksum stored at *field* is correct."""
    return bool(_FIELD.unpack_from(data, field)[0] == crc32c(data, field=field))


def seal(data: bytes, *, field: int) -> bytes:
    """*data* with its checksum written at *field*."""
    return data[:field] + _FIELD.pack(crc32c(data, field=field)) + data[field + 4 :]
