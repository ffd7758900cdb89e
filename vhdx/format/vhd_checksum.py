"""The checksum of VHD structures: the one's complement of the sum of all bytes, its own field taken as zero."""

import struct

_FIELD = struct.Struct(">I")


def complement_sum(data: bytes | bytearray | memoryview, *, field: int) -> int:
    """The checksum of *data* with the four bytes at *field* taken as zero."""
    return ~(sum(data) - sum(data[field : field + 4])) & 0xFFFFFFFF


def is_sealed(data: bytes | bytearray | memoryview, *, field: int) -> bool:
    """Whether the checksum stored at *field* is correct."""
    return bool(_FIELD.unpack_from(data, field)[0] == complement_sum(data, field=field))


def seal(data: bytes, *, field: int) -> bytes:
    """*data* with its checksum written at *field*."""
    return data[:field] + _FIELD.pack(complement_sum(data, field=field)) + data[field + 4 :]
