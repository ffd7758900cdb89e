"""The header in front of every message (MS-SMB2 2.2.1.2), and the length in front of that (2.1)."""

import struct
from typing import NamedTuple

from vhdx.storage.smb.messages import HEADER_LENGTH, Message

PROTOCOL = b"\xfeSMB"
LENGTH = struct.Struct(">I")
CHARGE, NO_CHARGE = slice(6, 8), bytes(2)
SIGNATURE = slice(48, 64)
NO_SIGNATURE = bytes(16)
FROM_SERVER, SIGNED = 0x1, 0x8
UNASKED = (1 << 64) - 1
"""The number of what a server says by itself."""

_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
_MOST_CREDITS = 0xFFFF


class SmbHeader(NamedTuple):
    """The header of a message."""

    protocol: bytes
    structure: int
    charge: int
    status: int
    command: int
    credits: int
    flags: int
    following: int  # where the next message of the same frame starts, or 0
    number: int
    process: int
    tree: int
    session: int
    signature: bytes


def parse(data: bytearray | memoryview) -> SmbHeader:
    """The header at the start of *data*. Raises struct.error where there is none."""
    return SmbHeader(*_HEADER.unpack_from(data))


def build(message: Message, *, number: int, wanted: int, tree: int, session: int, signed: bool) -> bytearray:
    """The header of a request that asks for *wanted* credits; its signature is still missing."""
    flags, credits = SIGNED if signed else 0, min(wanted, _MOST_CREDITS)
    header = SmbHeader(
        PROTOCOL,
        HEADER_LENGTH,
        message.charge,
        0,
        message.command,
        credits,
        flags,
        0,
        number,
        0,
        tree,
        session,
        NO_SIGNATURE,
    )
    return bytearray(_HEADER.pack(*header))
