"""One open handle on a server, and the requests that go through it."""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from smbprotocol.exceptions import SMBResponseException
from smbprotocol.ioctl import SMB2IOCTLRequest, SMB2IOCTLResponse
from smbprotocol.open import (
    ImpersonationLevel,
    Open,
    SMB2QueryInfoRequest,
    SMB2QueryInfoResponse,
    SMB2SetInfoRequest,
)
from smbprotocol.tree import TreeConnect

from vhdx.storage.smb.connection import SmbConnection
from vhdx.storage.smb.status import failures

READ_DATA, WRITE_DATA, APPEND_DATA = 0x1, 0x2, 0x4
READ_ATTRIBUTES, WRITE_ATTRIBUTES, DELETE, SYNCHRONIZE = 0x80, 0x100, 0x10000, 0x100000
SHARE_READ, SHARE_WRITE, SHARE_DELETE = 0x1, 0x2, 0x4
SHARE_ALL = SHARE_READ | SHARE_WRITE | SHARE_DELETE
OPEN, CREATE = 1, 2
DIRECTORY, NOT_DIRECTORY, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000

_FILE, _FILE_SYSTEM = 1, 2
_IS_FSCTL = 1


class Handle:
    """An open file or directory; every failure names it and is one of the contract's."""

    def __init__(
        self,
        connection: SmbConnection,
        tree: TreeConnect,
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
        self._open = Open(tree, path.replace("/", "\\"))
        message, unpack = self._open.create(
            ImpersonationLevel.Impersonation,
            access | SYNCHRONIZE,
            0,
            share,
            disposition,
            options,
            send=False,
        )
        with failures(name):
            unpack(connection.request(tree, message))

    @property
    def modified(self) -> float:
        """When the file was last written, in seconds since 1970, as of the opening."""
        return float(self._open.last_write_time.timestamp())

    def call(self, message: Any) -> Any:
        """The answer to one message."""
        with failures(self.name):
            return self.connection.call(self.tree, message)

    def calls(self, messages: Iterable[Any], *, depth: int) -> Iterator[Any]:
        """The answers to many messages, pipelined."""
        with failures(self.name):
            yield from self.connection.calls(self.tree, messages, depth=depth)

    def reading(self, offset: int, length: int) -> Any:
        """A request for exactly *length* bytes."""
        return self._open.read(offset, length, min_length=length, send=False)[0]

    def writing(self, offset: int, data: bytes) -> Any:
        """A request to put *data* at *offset*."""
        return self._open.write(data, offset, send=False)[0]

    def control(self, code: int, data: bytes, *, answer: int = 0) -> Any:
        """A request for a file system control."""
        message = SMB2IOCTLRequest()
        message["ctl_code"] = code
        message["file_id"] = self._open.file_id
        message["max_output_response"] = answer
        message["flags"] = _IS_FSCTL
        message["buffer"] = data
        return message

    def flush(self) -> None:
        """Make durable what was written; may take as long as the server's disk takes."""
        self.call(self._open.flush(send=False)[0])

    def query(self, information: int, length: int, *, file_system: bool = False) -> bytes:
        """The bytes of an information class."""
        message = SMB2QueryInfoRequest()
        message["info_type"] = _FILE_SYSTEM if file_system else _FILE
        message["file_info_class"] = information
        message["output_buffer_length"] = length
        message["file_id"] = self._open.file_id
        answer = SMB2QueryInfoResponse()
        answer.unpack(self.call(message)["data"].get_value())
        return bytes(answer["buffer"].get_value())

    def set(self, information: int, data: bytes) -> None:
        """Set an information class."""
        message = SMB2SetInfoRequest()
        message["info_type"] = _FILE
        message["file_info_class"] = information
        message["file_id"] = self._open.file_id
        message["buffer"] = data
        self.call(message)

    def standard(self) -> tuple[int, int]:
        """Allocated bytes and length of the file."""
        allocated, length = struct.unpack_from("<QQ", self.query(5, 24))
        return allocated, length

    def listing(self, information: int) -> Iterator[Any]:
        """The entries of a directory, page by page."""
        first = True
        while True:
            message, _ = self._open.query_directory("*", information, flags=1 if first else 0, send=False)
            first = False
            yield self.call(message)

    def close(self) -> None:
        """Give the handle back; on a connection that is gone there is nothing to give."""
        if not self._open.connected or not self.connection.alive:
            return
        message, _ = self._open.close(send=False)
        self._open._connected = False
        self.tree.session.open_table.pop(self._open.file_id, None)
        try:
            self.call(message)
        except OSError:
            return


def answered(response: Any) -> bytes:
    """What a control request brought back."""
    answer = SMB2IOCTLResponse()
    answer.unpack(response["data"].get_value())
    return bytes(answer["buffer"].get_value())


def refused(error: BaseException) -> SMBResponseException | None:
    """The server's refusal behind a translated error."""
    return error.__cause__ if isinstance(error.__cause__, SMBResponseException) else None
