"""An open handle and the requests on it."""

import contextlib
import os
import struct
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import partial

from vhdx.storage import ownership
from vhdx.storage.base import FileStatus
from vhdx.storage.smb import messages
from vhdx.storage.smb.connection import SmbConnection, Tree
from vhdx.storage.smb.messages import Message, Response, Scan
from vhdx.storage.smb.status import failures

# DesiredAccess, ShareAccess, CreateDisposition, CreateOptions (MS-SMB2 2.2.13, 2.2.13.1).
READ_DATA, WRITE_DATA, APPEND_DATA = 0x1, 0x2, 0x4
READ_ATTRIBUTES, WRITE_ATTRIBUTES, DELETE, SYNCHRONIZE = 0x80, 0x100, 0x10000, 0x100000
SHARE_NONE, SHARE_READ, SHARE_WRITE, SHARE_DELETE = 0x0, 0x1, 0x2, 0x4
SHARE_ALL = SHARE_READ | SHARE_WRITE | SHARE_DELETE
OPEN, CREATE = 1, 2
DIRECTORY_FILE, NON_DIRECTORY_FILE, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000
OPEN_REPARSE_POINT = 0x200000

_REPARSE_POINT = 0x400
_NAME_SURROGATE = 0x20000000
"""The bit of a reparse tag that marks a link to another file (MS-FSCC 2.1.2.1)."""
_INTERNAL_INFORMATION = 6
_ATTRIBUTE_TAG_INFORMATION = 35

_STANDARD_INFORMATION = 5
_PAGE_LENGTH = 64 << 10
_EPOCH = 116_444_736_000_000_000  # 1970-01-01 in units of 100 ns since 1601-01-01


class Handle:
    """An open file or directory. Errors are those of the storage contract and contain its name.

    Usable only in the process that opened it; closed when it is garbage-collected.
    """

    def __init__(
        self,
        connection: SmbConnection,
        tree: Tree,
        path: str,
        name: str,
        *,
        desired_access: int,
        share_access: int = SHARE_ALL,
        create_disposition: int = OPEN,
        create_options: int = NON_DIRECTORY_FILE,
    ) -> None:
        self.connection = connection
        self.tree = tree
        self.name = name
        self._opener = os.getpid()
        message = messages.create(
            path,
            desired_access=desired_access | SYNCHRONIZE,
            share_access=share_access,
            create_disposition=create_disposition,
            create_options=create_options,
        )
        with failures(name):
            created = connection.create(tree, message)
        self.file_id = created.file_id
        self.size_at_opening = created.end_of_file
        self.allocated_at_opening = created.allocation_size
        self.modified_at_opening = (created.last_write_time - _EPOCH) / 10_000_000
        self.is_reparse_point = bool(created.file_attributes & _REPARSE_POINT)
        self._disk_file_id = created.disk_file_id
        give_back = partial(_close, connection, tree, created.file_id)
        self._unclosed = ownership.unless_closed(self, name, give_back, waits=True)

    @property
    def is_closed(self) -> bool:
        """Whether it was given back, by whichever thread."""
        return self._opener == ownership.CLOSED

    def check_open(self) -> None:
        """Raises Error if the handle is closed or was opened by another process."""
        if self._opener != os.getpid():
            raise ownership.refusal(self.name, self._opener)

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Translate errors; if the handle was closed meanwhile, raise that instead of the server's error."""
        self.check_open()
        try:
            with failures(self.name):
                yield
        except OSError:
            self.check_open()
            raise

    def call(self, message: Message) -> Response:
        """Send one request and return its response."""
        with self._talking():
            return self.connection.call(self.tree, message)

    def exchange(self, requests: Iterable[Message], *, depth: int) -> list[Response]:
        """Send requests pipelined and return their responses."""
        if self._opener != os.getpid():
            raise ownership.refusal(self.name, self._opener)
        try:
            with failures(self.name):
                return self.connection.exchange(self.tree, requests, depth=depth)
        except OSError:
            self.check_open()
            raise

    def read(self, parts: Sequence[tuple[int, memoryview]]) -> list[int]:
        """Fill buffers, each of at most `SmbConnection.request_size` bytes; returns the bytes read into each."""
        requests = (messages.read(self.file_id, offset, part) for offset, part in parts)
        return [response.placed for response in self.exchange(requests, depth=self.connection.settings.depth)]

    def write(self, parts: Sequence[tuple[int, memoryview]]) -> list[int]:
        """Write buffers, each of at most `SmbConnection.request_size` bytes; returns the bytes written of each."""
        requests = (messages.write(self.file_id, offset, part) for offset, part in parts)
        responses = self.exchange(requests, depth=self.connection.settings.depth)
        with failures(self.name):
            return [messages.write_response(response) for response in responses]

    def ioctl(self, code: int, data: bytes, *, max_response: int) -> bytes:
        """Send an FSCTL and return its output."""
        with self._talking():
            message = messages.ioctl(self.file_id, code, data, max_response=max_response)
            return messages.ioctl_response(self.connection.call(self.tree, message))

    def ioctls(self, code: int, inputs: Iterable[bytes], *, max_response: int, depth: int) -> list[bytes]:
        """Send an FSCTL pipelined, once for each input, and return the outputs."""
        requests = (messages.ioctl(self.file_id, code, data, max_response=max_response, long=True) for data in inputs)
        responses = self.exchange(requests, depth=depth)
        with failures(self.name):
            return [messages.ioctl_response(response) for response in responses]

    def flush(self) -> None:
        """Make written data durable; no time limit."""
        self.call(messages.flush(self.file_id))

    def query(self, info_class: int, place: struct.Struct, *, file_system: bool = False) -> tuple[int, ...]:
        """The fields at the start of an information class (MS-FSCC 2.4, 2.5)."""
        with self._talking():
            message = messages.query_info(self.file_id, info_class, place.size, file_system=file_system)
            return place.unpack_from(messages.query_response(self.connection.call(self.tree, message)))

    def set(self, info_class: int, data: bytes) -> None:
        """Set an information class (MS-FSCC 2.4)."""
        self.call(messages.set_info(self.file_id, info_class, data))

    def size(self) -> int:
        """The current EndOfFile."""
        return self.query(_STANDARD_INFORMATION, _STANDARD)[1]

    def identity(self) -> Hashable:
        """Equal for two handles of one file. Needs a request only if the CREATE response had no DiskFileId."""
        self.check_open()
        if self._disk_file_id is None:
            (self._disk_file_id,) = self.query(_INTERNAL_INFORMATION, _INDEX_NUMBER)
        return (self.connection.server, self.connection.port, self.tree.share, self._disk_file_id)

    def status(self) -> FileStatus:
        """Query the server; size and time are those of the CREATE response."""
        links = self.query(_STANDARD_INFORMATION, _STANDARD)[2]
        sizes = self.size_at_opening, self.allocated_at_opening
        return FileStatus(self.identity(), *sizes, self.modified_at_opening, links=links)

    def is_link(self) -> bool:
        """Whether a handle opened with OPEN_REPARSE_POINT is a symbolic link, a junction or another name surrogate.

        Other reparse points, such as deduplicated files, open as ordinary files without that option.
        """
        return self.is_reparse_point and bool(self.query(_ATTRIBUTE_TAG_INFORMATION, _TAG)[1] & _NAME_SURROGATE)

    def query_directory(self, info_class: int, pattern: str, scan: Scan) -> memoryview:
        """The next entries of a directory; empty at the end."""
        with self._talking():
            length = min(_PAGE_LENGTH, self.connection.transact_size)
            message = messages.query_directory(self.file_id, info_class, length, pattern=pattern, scan=scan)
            return messages.query_response(self.connection.call(self.tree, message))

    def finish(self) -> None:
        """Close the handle and raise errors: for deletion, which takes effect on CLOSE. Raises ConnectionError."""
        if self._let_go():
            with failures(self.name):
                self.connection.call(self.tree, messages.close(self.file_id, removes=True))

    def close(self) -> None:
        """Close the handle, ignoring errors. Idempotent."""
        if self._let_go():
            _close(self.connection, self.tree, self.file_id)

    def _let_go(self) -> bool:
        """Mark as closed; whether a CLOSE must be sent: only once, and never from a forked process."""
        opener, self._opener = self._opener, ownership.CLOSED
        return self._unclosed.detach() is not None and opener == os.getpid()


def _close(connection: SmbConnection, tree: Tree, file_id: bytes) -> None:
    if connection.alive:
        with contextlib.suppress(OSError), failures(connection.name):
            connection.call(tree, messages.close(file_id))


_STANDARD = struct.Struct("<QQII")  # allocated, length, links, flags
_INDEX_NUMBER = struct.Struct("<Q")
_TAG = struct.Struct("<II")  # attributes, reparse tag
