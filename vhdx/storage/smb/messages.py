"""The requests that are made once logged on, as bytes, and the fixed parts of their answers (MS-SMB2 2.2).

Every offset in a body counts from the start of the header, which `channel` puts in front of it.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from vhdx.storage.base import Buffer

HEADER_LENGTH = 64
CREDIT = 64 << 10
"""Payload bytes that one credit pays for."""

_FILE_SYSTEM, _FILE = 2, 1
_IS_FSCTL = 1
_IMPERSONATION = 2
_RESTART_SCAN, _REOPEN = 0x01, 0x10
_QUERY_ON_DISK_ID = struct.pack("<IHHHHI4s4x", 0, 16, 4, 0, 0, 0, b"QFid")
"""A create context that asks for the number of the file (MS-SMB2 2.2.13.2.9)."""


class Command(IntEnum):
    """What a request asks for."""

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
    """A request without its header; *payload* follows the body and is never copied on its way to the socket."""

    command: Command
    body: bytes
    payload: Buffer = b""
    answer: int = 0  # the most bytes of payload that may come back
    into: memoryview | None = None  # where the payload of a read goes

    @property
    def charge(self) -> int:
        """The credits that it costs."""
        return 1 + (max(len(self.payload), self.answer, 1) - 1) // CREDIT


class Answer(NamedTuple):
    """What came back: the tree that the header names, the body, and how many bytes went into a reader's buffer."""

    tree: int
    body: memoryview
    placed: int = 0

    def part(self, offset: int, length: int) -> memoryview:
        """*length* bytes at *offset* from the start of the header. Raises struct.error when they are not there."""
        start = offset - HEADER_LENGTH
        if start < 0 or start + length > len(self.body):
            raise struct.error("the answer points outside itself")
        return self.body[start : start + length]


class Created(NamedTuple):
    """What a server says of a file that it has opened."""

    file: bytes
    allocated: int
    size: int
    modified: int  # in units of 100 ns since 1601-01-01 UTC
    attributes: int  # MS-FSCC 2.6
    number: int | None  # unique on the volume; None where the server does not tell when it opens a file


class Connected(NamedTuple):
    """What a server says of a share."""

    tree: int
    encrypted: bool


_TREE_CONNECT = struct.Struct("<HHHH")
_CREATE = struct.Struct("<HBBIQQIIIIIHHII")
_HANDLE = struct.Struct("<H6x16s")
_READ = struct.Struct("<HBBIQ16sIIIHHB")
_WRITE = struct.Struct("<HHIQ16sIIHHI")
_IOCTL = struct.Struct("<H2xI16sIIIIIII4x")
_QUERY_DIRECTORY = struct.Struct("<HBBI16sHHI")
_QUERY_INFO = struct.Struct("<HBBIHHIII16s")
_SET_INFO = struct.Struct("<HBBIH2xI16s")

_CONNECTED = struct.Struct("<HB1xI")
_CREATED = struct.Struct("<8x16xQ8xQQI4x16sII")
_CONTEXT = struct.Struct("<IHHHHI")
_NO_NUMBER = frozenset({0, (1 << 64) - 1})
"""What file systems say that have no number for a file (MS-FSCC 2.1.9)."""
_WRITTEN = struct.Struct("<4xI")
_CONTROLLED = struct.Struct("<32xII")
_LOCATED = struct.Struct("<2xHI")
_READ_HEAD = struct.Struct("<2xBxI")
READ_HEAD_LENGTH = 16

ECHO = Message(Command.ECHO, struct.pack("<HH", 4, 0))
LOGOFF = Message(Command.LOGOFF, struct.pack("<HH", 4, 0))


def tree_connect(path: str) -> Message:
    """Connect to a share by its UNC path."""
    name = path.encode("utf-16-le")
    return Message(Command.TREE_CONNECT, _TREE_CONNECT.pack(9, 0, HEADER_LENGTH + _TREE_CONNECT.size, len(name)), name)


def connected(answer: Answer) -> Connected:
    """The answer to `tree_connect`."""
    flags = _CONNECTED.unpack_from(answer.body)[2]
    return Connected(answer.tree, bool(flags & 0x8000))


def create(path: str, *, access: int, share: int, disposition: int, options: int) -> Message:
    """Open or make a file or directory. No oplock and no lease are asked for, so none is ever broken."""
    name = path.replace("/", "\\").encode("utf-16-le")
    offset = HEADER_LENGTH + _CREATE.size
    padded = name.ljust(max(-(-len(name) // 8) * 8, 8), b"\0")
    context = offset + len(padded), len(_QUERY_ON_DISK_ID)
    wanted = access, 0, share, disposition, options
    body = _CREATE.pack(57, 0, 0, _IMPERSONATION, 0, 0, *wanted, offset, len(name), *context)
    return Message(Command.CREATE, body, padded + _QUERY_ON_DISK_ID)


def created(answer: Answer) -> Created:
    """The answer to `create`."""
    modified, allocated, size, attributes, file, offset, length = _CREATED.unpack_from(answer.body)
    number = _on_disk_id(answer.part(offset, length)) if length else None
    return Created(file, allocated, size, modified, attributes, number)


def _on_disk_id(contexts: memoryview) -> int | None:
    """The number of the file in the contexts of an answer (MS-SMB2 2.2.14.2.9)."""
    while len(contexts):
        following, name, name_length, _, data, length = _CONTEXT.unpack_from(contexts)
        if bytes(contexts[name : name + name_length]) == b"QFid" and length:
            (number,) = struct.unpack_from("<Q", contexts[data : data + length])
            return None if number in _NO_NUMBER else int(number)
        contexts = contexts[following:] if following else contexts[:0]
    return None


def close(file: bytes) -> Message:
    """Give a handle back."""
    return Message(Command.CLOSE, _HANDLE.pack(24, file))


def flush(file: bytes) -> Message:
    """Make durable what was written."""
    return Message(Command.FLUSH, _HANDLE.pack(24, file))


def read(file: bytes, offset: int, into: memoryview) -> Message:
    """Fill *into* from *offset*; fewer bytes come where the file ends."""
    length = len(into)
    body = _READ.pack(49, HEADER_LENGTH + READ_HEAD_LENGTH, 0, length, offset, file, 0, 0, 0, 0, 0, 0)
    return Message(Command.READ, body, answer=length, into=into)


def read_extent(head: Buffer) -> tuple[int, int]:
    """Where the payload of a read lies: its offset from the start of the header, its length."""
    offset, length = _READ_HEAD.unpack_from(head)
    return offset, length


def write(file: bytes, offset: int, data: memoryview) -> Message:
    """Put *data* at *offset*."""
    body = _WRITE.pack(49, HEADER_LENGTH + _WRITE.size, len(data), offset, file, 0, 0, 0, 0, 0)
    return Message(Command.WRITE, body, data)


def written(answer: Answer) -> int:
    """How many bytes a write wrote."""
    count: int = _WRITTEN.unpack_from(answer.body)[0]
    return count


def control(file: bytes, code: int, data: bytes, *, answer: int) -> Message:
    """A file system control that brings back at most *answer* bytes."""
    offset = HEADER_LENGTH + _IOCTL.size if data else 0
    body = _IOCTL.pack(57, code, file, offset, len(data), 0, 0, 0, answer, _IS_FSCTL)
    return Message(Command.IOCTL, body, data or bytes(1), answer=answer)


def controlled(answer: Answer) -> bytes:
    """What a control brought back."""
    return bytes(answer.part(*_extent(_CONTROLLED, answer)))


def query(file: bytes, information: int, length: int, *, file_system: bool) -> Message:
    """Ask for an information class of a file or of its file system."""
    kind = _FILE_SYSTEM if file_system else _FILE
    return Message(
        Command.QUERY_INFO, _QUERY_INFO.pack(41, kind, information, length, 0, 0, 0, 0, 0, file), bytes(1), length
    )


def set_information(file: bytes, information: int, data: bytes) -> Message:
    """Set an information class of a file."""
    body = _SET_INFO.pack(33, _FILE, information, len(data), HEADER_LENGTH + _SET_INFO.size, 0, file)
    return Message(Command.SET_INFO, body, data)


class Scan(IntEnum):
    """How a request goes on with a listing; the pattern counts where one begins."""

    GO_ON = 0
    RESTART = _RESTART_SCAN
    REOPEN = _REOPEN | _RESTART_SCAN  # with another pattern


def query_directory(file: bytes, information: int, length: int, *, pattern: str, scan: Scan) -> Message:
    """The next entries of a directory whose names match *pattern*, as many as *length* bytes hold."""
    encoded = pattern.encode("utf-16-le")
    offset = HEADER_LENGTH + _QUERY_DIRECTORY.size
    body = _QUERY_DIRECTORY.pack(33, information, scan, 0, file, offset, len(encoded), length)
    return Message(Command.QUERY_DIRECTORY, body, encoded, length)


def queried(answer: Answer) -> memoryview:
    """What `query` and `query_directory` bring back."""
    return answer.part(*_extent(_LOCATED, answer))


def _extent(place: struct.Struct, answer: Answer) -> tuple[int, int]:
    offset, length = place.unpack_from(answer.body)
    return (offset, length) if length else (HEADER_LENGTH, 0)
