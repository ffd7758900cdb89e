"""SMB2 requests as bytes, and the fixed part of their responses (MS-SMB2 2.2).

Offsets in a body are relative to the start of the SMB2 header, which `channel` prepends.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from vhdx.storage.base import Buffer

HEADER_LENGTH = 64
CREDIT = 64 << 10
"""Payload bytes per credit (MS-SMB2 3.1.5.2)."""

_FILE_SYSTEM, _FILE = 2, 1
_IS_FSCTL = 1
_IMPERSONATION = 2
_RESTART_SCAN, _REOPEN = 0x01, 0x10
_QUERY_ON_DISK_ID = struct.pack("<IHHHHI4s4x", 0, 16, 4, 0, 0, 0, b"QFid")
"""SMB2_CREATE_QUERY_ON_DISK_ID create context (MS-SMB2 2.2.13.2.9)."""


class Command(IntEnum):
    """The commands that are sent (MS-SMB2 2.2.1.2)."""

    SESSION_SETUP = 1
    LOGOFF = 2
    TREE_CONNECT = 3
    CREATE = 5
    CLOSE = 6
    FLUSH = 7
    READ = 8
    WRITE = 9
    IOCTL = 11
    ECHO = 13
    QUERY_DIRECTORY = 14
    QUERY_INFO = 16
    SET_INFO = 17


class Message(NamedTuple):
    """A request without its header; *payload* follows the body and is sent without being copied."""

    command: Command
    body: bytes
    payload: Buffer = b""
    max_response: int = 0  # the most payload bytes in the response
    into: memoryview | None = None  # receives the payload of a READ
    long: bool = False  # whether the server's disk may take long

    @property
    def volume(self) -> int:
        """The most payload bytes in either direction."""
        return max(len(self.payload), self.max_response)

    @property
    def credit_charge(self) -> int:
        """The CreditCharge (MS-SMB2 3.2.4.1.5)."""
        return 1 + (max(self.volume, 1) - 1) // CREDIT


class Response(NamedTuple):
    """A response: the TreeId of its header, its body, and the number of bytes placed in the buffer of a READ."""

    tree_id: int
    body: memoryview
    placed: int = 0

    def part(self, offset: int, length: int) -> memoryview:
        """*length* bytes at *offset* from the start of the header. Raises struct.error outside the response."""
        start = offset - HEADER_LENGTH
        if start < 0 or start + length > len(self.body):
            raise struct.error("offset and length exceed the response")
        return self.body[start : start + length]


class CreateResponse(NamedTuple):
    """CREATE response (MS-SMB2 2.2.14)."""

    file_id: bytes
    allocation_size: int
    end_of_file: int
    last_write_time: int  # in units of 100 ns since 1601-01-01 UTC
    file_attributes: int  # MS-FSCC 2.6
    disk_file_id: int | None  # unique on the volume; None: not in the response


class TreeConnectResponse(NamedTuple):
    """TREE_CONNECT response (MS-SMB2 2.2.10); *encrypt_data* is SMB2_SHAREFLAG_ENCRYPT_DATA."""

    tree_id: int
    encrypt_data: bool


_TREE_CONNECT = struct.Struct("<HHHH")
_CREATE = struct.Struct("<HBBIQQIIIIIHHII")
_FILE_ID = struct.Struct("<H6x16s")
_READ = struct.Struct("<HBBIQ16sIIIHHB")
_WRITE = struct.Struct("<HHIQ16sIIHHI")
_IOCTL = struct.Struct("<H2xI16sIIIIIII4x")
_QUERY_DIRECTORY = struct.Struct("<HBBI16sHHI")
_QUERY_INFO = struct.Struct("<HBBIHHIII16s")
_SET_INFO = struct.Struct("<HBBIH2xI16s")

_CONNECTED = struct.Struct("<HB1xI")
_CREATED = struct.Struct("<8x16xQ8xQQI4x16sII")
_CONTEXT = struct.Struct("<IHHHHI")
_NO_FILE_ID = frozenset({0, (1 << 64) - 1})
"""Values of file systems that do not support file ids (MS-FSCC 2.1.9)."""
_WRITTEN = struct.Struct("<4xI")
_CONTROLLED = struct.Struct("<32xII")
_LOCATED = struct.Struct("<2xHI")
_READ_HEAD = struct.Struct("<2xBxI")
READ_HEAD_LENGTH = 16

ECHO = Message(Command.ECHO, struct.pack("<HH", 4, 0))
LOGOFF = Message(Command.LOGOFF, struct.pack("<HH", 4, 0))


def tree_connect(path: str) -> Message:
    """TREE_CONNECT request for the share at a UNC path (MS-SMB2 2.2.9)."""
    name = path.encode("utf-16-le")
    return Message(Command.TREE_CONNECT, _TREE_CONNECT.pack(9, 0, HEADER_LENGTH + _TREE_CONNECT.size, len(name)), name)


def tree_connect_response(response: Response) -> TreeConnectResponse:
    """Parse a TREE_CONNECT response. Raises struct.error."""
    flags = _CONNECTED.unpack_from(response.body)[2]
    return TreeConnectResponse(response.tree_id, bool(flags & 0x8000))


def create(
    path: str, *, desired_access: int, share_access: int, create_disposition: int, create_options: int
) -> Message:
    """CREATE request (MS-SMB2 2.2.13). Requests no oplock and no lease, so no break notification is ever sent."""
    name = path.replace("/", "\\").encode("utf-16-le")
    offset = HEADER_LENGTH + _CREATE.size
    padded = name.ljust(max(-(-len(name) // 8) * 8, 8), b"\0")
    context = offset + len(padded), len(_QUERY_ON_DISK_ID)
    how = desired_access, 0, share_access, create_disposition, create_options
    body = _CREATE.pack(57, 0, 0, _IMPERSONATION, 0, 0, *how, offset, len(name), *context)
    return Message(Command.CREATE, body, padded + _QUERY_ON_DISK_ID)


def create_response(response: Response) -> CreateResponse:
    """Parse a CREATE response. Raises struct.error."""
    last_write, allocation, end_of_file, attributes, file_id, offset, length = _CREATED.unpack_from(response.body)
    disk_file_id = _on_disk_id(response.part(offset, length)) if length else None
    return CreateResponse(file_id, allocation, end_of_file, last_write, attributes, disk_file_id)


def _on_disk_id(contexts: memoryview) -> int | None:
    """The DiskFileId in the create contexts of a response (MS-SMB2 2.2.14.2.9)."""
    while len(contexts):
        next_entry, name, name_length, _, data, length = _CONTEXT.unpack_from(contexts)
        if bytes(contexts[name : name + name_length]) == b"QFid" and length:
            (file_id,) = struct.unpack_from("<Q", contexts[data : data + length])
            return None if file_id in _NO_FILE_ID else int(file_id)
        contexts = contexts[next_entry:] if next_entry else contexts[:0]
    return None


def close(file_id: bytes, *, removes: bool = False) -> Message:
    """CLOSE request (MS-SMB2 2.2.15), which may remove the file."""
    return Message(Command.CLOSE, _FILE_ID.pack(24, file_id), long=removes)


def flush(file_id: bytes) -> Message:
    """FLUSH request (MS-SMB2 2.2.17)."""
    return Message(Command.FLUSH, _FILE_ID.pack(24, file_id), long=True)


def read(file_id: bytes, offset: int, into: memoryview) -> Message:
    """READ request (MS-SMB2 2.2.19) that fills *into* from *offset*; the server returns fewer bytes at end of file."""
    length = len(into)
    body = _READ.pack(49, HEADER_LENGTH + READ_HEAD_LENGTH, 0, length, offset, file_id, 0, 0, 0, 0, 0, 0)
    return Message(Command.READ, body, max_response=length, into=into)


def read_extent(head: Buffer) -> tuple[int, int]:
    """DataOffset and DataLength of a READ response (MS-SMB2 2.2.20)."""
    offset, length = _READ_HEAD.unpack_from(head)
    return offset, length


def write(file_id: bytes, offset: int, data: memoryview) -> Message:
    """WRITE request (MS-SMB2 2.2.21)."""
    body = _WRITE.pack(49, HEADER_LENGTH + _WRITE.size, len(data), offset, file_id, 0, 0, 0, 0, 0)
    return Message(Command.WRITE, body, data)


def write_response(response: Response) -> int:
    """The Count of a WRITE response (MS-SMB2 2.2.22). Raises struct.error."""
    count: int = _WRITTEN.unpack_from(response.body)[0]
    return count


def ioctl(file_id: bytes, code: int, data: bytes, *, max_response: int, long: bool = False) -> Message:
    """IOCTL request with an FSCTL code (MS-SMB2 2.2.31); *max_response* is MaxOutputResponse."""
    offset = HEADER_LENGTH + _IOCTL.size if data else 0
    body = _IOCTL.pack(57, code, file_id, offset, len(data), 0, 0, 0, max_response, _IS_FSCTL)
    return Message(Command.IOCTL, body, data or bytes(1), max_response=max_response, long=long)


def ioctl_response(response: Response) -> bytes:
    """The output buffer of an IOCTL response (MS-SMB2 2.2.32). Raises struct.error."""
    return bytes(response.part(*_extent(_CONTROLLED, response)))


def query_info(file_id: bytes, info_class: int, length: int, *, file_system: bool) -> Message:
    """QUERY_INFO request for an information class of a file or of its file system (MS-SMB2 2.2.37)."""
    kind = _FILE_SYSTEM if file_system else _FILE
    return Message(
        Command.QUERY_INFO, _QUERY_INFO.pack(41, kind, info_class, length, 0, 0, 0, 0, 0, file_id), bytes(1), length
    )


def set_info(file_id: bytes, info_class: int, data: bytes) -> Message:
    """SET_INFO request for an information class of a file (MS-SMB2 2.2.39)."""
    body = _SET_INFO.pack(33, _FILE, info_class, len(data), HEADER_LENGTH + _SET_INFO.size, 0, file_id)
    return Message(Command.SET_INFO, body, data, long=True)


class Scan(IntEnum):
    """Flags of a QUERY_DIRECTORY request (MS-SMB2 2.2.33); the pattern is used only when the scan starts."""

    CONTINUE = 0
    RESTART = _RESTART_SCAN
    REOPEN = _REOPEN | _RESTART_SCAN  # with another pattern


def query_directory(file_id: bytes, info_class: int, length: int, *, pattern: str, scan: Scan) -> Message:
    """QUERY_DIRECTORY request for the next entries that match *pattern*, at most *length* bytes (MS-SMB2 2.2.33)."""
    encoded = pattern.encode("utf-16-le")
    offset = HEADER_LENGTH + _QUERY_DIRECTORY.size
    body = _QUERY_DIRECTORY.pack(33, info_class, scan, 0, file_id, offset, len(encoded), length)
    return Message(Command.QUERY_DIRECTORY, body, encoded, length)


def query_response(response: Response) -> memoryview:
    """The output buffer of a QUERY_INFO or QUERY_DIRECTORY response (MS-SMB2 2.2.38, 2.2.34). Raises struct.error."""
    return response.part(*_extent(_LOCATED, response))


def _extent(place: struct.Struct, response: Response) -> tuple[int, int]:
    offset, length = place.unpack_from(response.body)
    return (offset, length) if length else (HEADER_LENGTH, 0)
