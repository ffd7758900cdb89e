"""The synchronous SMB2 header (MS-SMB2 2.2.1.2) and the length of the Direct TCP transport (2.1)."""

import struct
from typing import NamedTuple

from vhdx.storage.smb.messages import HEADER_LENGTH, Message

PROTOCOL_ID = b"\xfeSMB"
LENGTH = struct.Struct(">I")
CREDIT_CHARGE, NO_CHARGE = slice(6, 8), bytes(2)
SIGNATURE = slice(48, 64)
NO_SIGNATURE = bytes(16)
SERVER_TO_REDIR, ASYNC_COMMAND, SIGNED = 0x1, 0x2, 0x8
UNSOLICITED = (1 << 64) - 1
"""MessageId of an oplock break notification, the only message that is not a response (MS-SMB2 2.2.23)."""

_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
_MOST_CREDITS = 0xFFFF


class SmbHeader(NamedTuple):
    """An SMB2 header; *credits* is CreditRequest in a request and CreditResponse in a response."""

    protocol_id: bytes
    structure_size: int
    credit_charge: int
    status: int
    command: int
    credits: int
    flags: int
    next_command: int  # offset of the next response in a compound, or 0
    message_id: int
    reserved: int
    tree_id: int
    session_id: int
    signature: bytes


def parse(data: bytearray | memoryview) -> SmbHeader:
    """The header at the start of *data*. Raises struct.error when *data* is too short."""
    return SmbHeader(*_HEADER.unpack_from(data))


def build(
    message: Message, *, message_id: int, credit_request: int, tree_id: int, session_id: int, signed: bool
) -> bytearray:
    """The header of a request; its Signature is zero."""
    flags, credits = SIGNED if signed else 0, min(credit_request, _MOST_CREDITS)
    header = SmbHeader(
        PROTOCOL_ID,
        HEADER_LENGTH,
        message.credit_charge,
        0,
        message.command,
        credits,
        flags,
        0,
        message_id,
        0,
        tree_id,
        session_id,
        NO_SIGNATURE,
    )
    return bytearray(_HEADER.pack(*header))
