"""A connection of smbprotocol for the log-on: the dialects it offers, and the time that each response may take."""

import contextlib
import select
import socket
import threading
import time
import uuid
from typing import Any

from smbprotocol.connection import Connection, SMB2NegotiateRequest, SMB3NegotiateRequest
from smbprotocol.exceptions import SMBConnectionClosed, SMBException

from vhdx.storage.dialect import Dialect
from vhdx.storage.smb.header import ASYNC_COMMAND
from vhdx.storage.smb.messages import HEADER_LENGTH, Command
from vhdx.storage.smb.status import NtStatus

MALFORMED = "malformed response"
_SILENT = "the server does not respond in time"
_PAUSE = 0.05  # seconds
_RESPONSES = 4
"""The log-on as a whole may take the time of this many responses."""
_LONGEST = 128 << 10
"""Bytes of a response: the lengths of its tokens have 16 bits."""
_NEGOTIATE_LENGTH = 36  # of the request, up to the dialects


class LogOn(Connection):  # type: ignore[misc]
    """A connection whose thread ends after the final SESSION_SETUP response, or on failure, and leaves the socket open.

    *dialects* are offered, oldest first. Each request is answered within *patience* seconds, and all of them within
    `_RESPONSES` times that, or the thread shuts the socket down, whatever else it receives.
    """

    def __init__(
        self, server: str, port: int, dialects: list[Dialect], *, require_signing: bool, patience: float
    ) -> None:
        self.over = threading.Event()  # no more requests will be sent
        self._answered = False  # the final SESSION_SETUP response was received
        self._dialects = dialects
        self._patience = patience
        self._left = _RESPONSES * patience
        self._asked: float | None = None  # when the outstanding request was sent
        super().__init__(uuid.uuid4(), server, port, require_signing=require_signing)

    def send(self, message: Any, **options: Any) -> Any:
        """Offer *dialects*: the library offers either one, or all that its signing settings allow."""
        if isinstance(message, SMB2NegotiateRequest | SMB3NegotiateRequest):
            _offer(message, self._dialects)
            self.negotiated_dialects = self._dialects
        self._asked = time.monotonic()
        return super().send(message, **options)

    def _process_message_thread(self) -> None:
        self.transport.recv = self._frame
        super()._process_message_thread()

    def _frame(self, _timeout: float) -> bytes:
        """The next message; empty to end the thread."""
        if self._answered and self._is_over():
            return b""
        try:
            data = self._next()
        except OSError as error:
            # If raised, the library would log it with a traceback; stored here, every waiting call raises it.
            self._t_exc = SMBConnectionClosed(error.strerror or str(error))
            self._shut_down()  # a thread may be blocked in sending
            return b""
        if data:
            self._take_note(data)
        return data

    def _take_note(self, data: bytes) -> None:
        status = int.from_bytes(data[8:12], "little")
        if status == NtStatus.PENDING:
            return
        if self._asked is not None:
            self._left -= time.monotonic() - self._asked
            self._asked = None
        self._answered = data[12] == Command.SESSION_SETUP and status != NtStatus.MORE_PROCESSING_REQUIRED

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            self.transport._sock.shutdown(socket.SHUT_RDWR)

    def _is_over(self) -> bool:
        """Wait until `over` is set (True), or until another request is sent although the log-on is complete (False)."""
        while not self.over.wait(_PAUSE):
            if any(request.response is None for request in list(self.outstanding_requests.values())):
                return False
        return True

    def _next(self) -> bytes:
        """The next message. With no outstanding request, as while a ticket is fetched, no response is due."""
        connection = self.transport._sock
        # Checked also when there is data: interim responses may be sent without end.
        while self._asked is None or time.monotonic() < self._deadline():
            if _is_readable(connection, _PAUSE):
                break
            if self.over.is_set() and self._asked is None:
                return b""
        else:
            raise TimeoutError(_SILENT)
        data = _receive(connection, self._deadline())
        if int.from_bytes(data[8:12], "little") == NtStatus.PENDING and not data[16] & ASYNC_COMMAND:
            raise ConnectionError("received an invalid interim response; the connection may be under attack")
        return data

    def _deadline(self) -> float:
        asked = time.monotonic() if self._asked is None else self._asked
        return asked + min(self._patience, self._left)

    @property
    def _t_exc(self) -> Exception | None:
        """What every waiting call raises: an SMBException, although malformed data makes the library raise others."""
        return self._failure

    @_t_exc.setter
    def _t_exc(self, error: Exception | None) -> None:
        known = error is None or isinstance(error, SMBException)
        self._failure = error if known else SMBConnectionClosed(MALFORMED)


def _offer(message: Any, dialects: list[Dialect]) -> None:
    message["dialects"] = [int(dialect) for dialect in dialects]
    if isinstance(message, SMB3NegotiateRequest):
        end = HEADER_LENGTH + _NEGOTIATE_LENGTH + 2 * len(dialects)
        # The library aligns the negotiate contexts only for odd counts of dialects.
        padding = -end % 8
        message["padding"].size = padding
        message["padding"] = bytes(padding)
        message["negotiate_context_offset"] = end + padding


def _receive(connection: socket.socket, deadline: float) -> bytes:
    length = int.from_bytes(_take(connection, 4, deadline), "big")
    if not HEADER_LENGTH <= length <= _LONGEST:
        raise ConnectionError("received data that is not SMB")
    return _take(connection, length, deadline)


def _take(connection: socket.socket, length: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < length:
        left = deadline - time.monotonic()
        if left <= 0 or not _is_readable(connection, left):
            raise TimeoutError(_SILENT)
        part = connection.recv(length - len(data))
        if not part:
            raise ConnectionError("the server closed the connection")
        data += part
    return bytes(data)


def _is_readable(connection: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
