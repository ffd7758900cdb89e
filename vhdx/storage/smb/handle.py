"""One open handle on a server, and the requests that go through it."""

import contextlib
import os
import struct
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import partial

from vhdx.storage import ownership
from vhdx.storage.base import FileStatus
from vhdx.storage.smb import messages
from vhdx.storage.smb.connection import SmbConnection, Tree
from vhdx.storage.smb.messages import Answer, Message, Scan
from vhdx.storage.smb.status import failures

READ_DATA, WRITE_DATA, APPEND_DATA = 0x1, 0x2, 0x4
READ_ATTRIBUTES, WRITE_ATTRIBUTES, DELETE, SYNCHRONIZE = 0x80, 0x100, 0x10000, 0x100000
SHARE_NONE, SHARE_READ, SHARE_WRITE, SHARE_DELETE = 0x0, 0x1, 0x2, 0x4
SHARE_ALL = SHARE_READ | SHARE_WRITE | SHARE_DELETE
OPEN, CREATE = 1, 2
DIRECTORY, NOT_DIRECTORY, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000
OPEN_REPARSE_POINT = 0x200000

_REPARSE_POINT = 0x400
_NAME_SURROGATE = 0x20000000
"""The bit of a reparse tag that says that the file stands for another (MS-FSCC 2.1.2.1)."""
_INTERNAL_INFORMATION = 6
_ATTRIBUTE_TAG_INFORMATION = 35

_STANDARD_INFORMATION = 5
_PAGE_LENGTH = 64 << 10
_EPOCH = 116_444_736_000_000_000  # 1970-01-01 in units of 100 ns since 1601-01-01


class Handle:
    """An open file or directory; every failure names it and is one of the contract's.

    It is for the process that opened it, and closed by itself when it is dropped.
    """

    def __init__(
        self,
        connection: SmbConnection,
        tree: Tree,
        path: str,
        name: str,
        *,
        access: int,
        share: int = SHARE_ALL,
        disposition: int = OPEN,
        options: int = NOT_DIRECTORY,
    ) -> None:
        self.connection = connection
        self.tree = tree
        self.name = name
        self._opener = os.getpid()
        message = messages.create(
            path, access=access | SYNCHRONIZE, share=share, disposition=disposition, options=options
        )
        with failures(name):
            created = messages.created(connection.call(tree, message))
        self.file = created.file
        self.size_at_opening = created.size
        self.allocated_at_opening = created.allocated
        self.modified_at_opening = (created.modified - _EPOCH) / 10_000_000
        self.is_reparse_point = bool(created.attributes & _REPARSE_POINT)
        self._number = created.number
        give_back = partial(_close, connection, tree, created.file)
        self._unclosed = ownership.unless_closed(self, name, give_back, waits=True)

    @property
    def is_closed(self) -> bool:
        """Whether it was given back, by whichever thread."""
        return self._opener == ownership.CLOSED

    def check_open(self) -> None:
        """Raises Error when it is closed, or was opened by another process."""
        if self._opener != os.getpid():
            raise ownership.refusal(self.name, self._opener)

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Whatever the server says of a handle that is closed meanwhile: it is closed."""
        self.check_open()
        try:
            with failures(self.name):
                yield
        except OSError:
            self.check_open()
            raise

    def call(self, message: Message) -> Answer:
        """The answer to one message."""
        with self._talking():
            return self.connection.call(self.tree, message)

    def exchange(self, requests: Iterable[Message], *, depth: int) -> list[Answer]:
        """The answers to many messages, pipelined."""
        if self._opener != os.getpid():
            raise ownership.refusal(self.name, self._opener)
        try:
            with failures(self.name):
                return self.connection.exchange(self.tree, requests, depth=depth)
        except OSError:
            self.check_open()
            raise

    def read(self, parts: Sequence[tuple[int, memoryview]]) -> list[int]:
        """Fill buffers, each no longer than a request may be; how many bytes each got."""
        requests = (messages.read(self.file, offset, part) for offset, part in parts)
        return [answer.placed for answer in self.exchange(requests, depth=self.connection.settings.depth)]

    def write(self, parts: Sequence[tuple[int, memoryview]]) -> list[int]:
        """Put buffers in place, each no longer than a request may be; how many bytes of each were written."""
        requests = (messages.write(self.file, offset, part) for offset, part in parts)
        answers = self.exchange(requests, depth=self.connection.settings.depth)
        with failures(self.name):
            return [messages.written(answer) for answer in answers]

    def control(self, code: int, data: bytes, *, answer: int) -> bytes:
        """What a file system control brings back."""
        with self._talking():
            message = messages.control(self.file, code, data, answer=answer)
            return messages.controlled(self.connection.call(self.tree, message))

    def controls(self, code: int, requests: Iterable[bytes], *, answer: int, depth: int) -> list[bytes]:
        """What many file system controls bring back, pipelined."""
        controls = (messages.control(self.file, code, data, answer=answer) for data in requests)
        answers = self.exchange(controls, depth=depth)
        with failures(self.name):
            return [messages.controlled(found) for found in answers]

    def flush(self) -> None:
        """Make durable what was written; may take as long as the server's disk takes."""
        self.call(messages.flush(self.file))

    def query(self, information: int, place: struct.Struct, *, file_system: bool = False) -> tuple[int, ...]:
        """The fields at the start of an information class."""
        with self._talking():
            message = messages.query(self.file, information, place.size, file_system=file_system)
            return place.unpack_from(messages.queried(self.connection.call(self.tree, message)))

    def set(self, information: int, data: bytes) -> None:
        """Set an information class."""
        self.call(messages.set_information(self.file, information, data))

    def size(self) -> int:
        """The file's length now."""
        return self.query(_STANDARD_INFORMATION, _STANDARD)[1]

    def identity(self) -> Hashable:
        """Equal for two handles of one file; most servers have told when they opened it."""
        self.check_open()
        if self._number is None:
            (self._number,) = self.query(_INTERNAL_INFORMATION, _NUMBER)
        return (self.connection.server, self.connection.port, self.tree.share, self._number)

    def status(self) -> FileStatus:
        """What the server, which is asked, says of the file; its size and time are those at its opening."""
        links = self.query(_STANDARD_INFORMATION, _STANDARD)[2]
        sizes = self.size_at_opening, self.allocated_at_opening
        return FileStatus(self.identity(), *sizes, self.modified_at_opening, links=links)

    def is_link(self) -> bool:
        """Whether this, opened with OPEN_REPARSE_POINT, is a symbolic link, a junction or the like.

        Other reparse points are files like any other to who opens them without (deduplicated ones, say).
        """
        return self.is_reparse_point and bool(self.query(_ATTRIBUTE_TAG_INFORMATION, _TAG)[1] & _NAME_SURROGATE)

    def page(self, information: int, pattern: str, scan: Scan) -> memoryview:
        """The next entries of a directory."""
        with self._talking():
            message = messages.query_directory(self.file, information, _PAGE_LENGTH, pattern=pattern, scan=scan)
            return messages.queried(self.connection.call(self.tree, message))

    def finish(self) -> None:
        """Give the handle back and hear that it was taken, where something hangs on that. Raises ConnectionError."""
        if self._let_go():
            with failures(self.name):
                self.connection.call(self.tree, messages.close(self.file))

    def close(self) -> None:
        """Give the handle back; on a connection that is gone there is nothing to give."""
        if self._let_go():
            _close(self.connection, self.tree, self.file)

    def _let_go(self) -> bool:
        """Whether there is something to tell the server: not twice, and never from a forked process."""
        opener, self._opener = self._opener, ownership.CLOSED
        return self._unclosed.detach() is not None and opener == os.getpid()


def _close(connection: SmbConnection, tree: Tree, file: bytes) -> None:
    if connection.alive:
        with contextlib.suppress(OSError), failures(connection.name):
            connection.call(tree, messages.close(file))


_STANDARD = struct.Struct("<QQII")  # allocated, length, links, flags
_NUMBER = struct.Struct("<Q")
_TAG = struct.Struct("<II")  # attributes, reparse tag
