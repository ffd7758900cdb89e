"""One authenticated connection to a server, with many requests in flight and credits waited for.

smbprotocol's worker thread asks a silent server for a sign of life and ends the connection when none comes; every
waiting request then wakes up. A sender that is stuck because the peer reads no more is freed by TCP's own timeout.
No oplock or lease is ever asked for: smbprotocol does not survive their breaking.
"""

import logging
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from smbprotocol.connection import Connection, Dialects
from smbprotocol.exceptions import SMBException
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from vhdx.errors import UnsupportedFeature
from vhdx.storage.smb import wire
from vhdx.storage.smb.account import Credentials, SmbSettings
from vhdx.storage.smb.status import failure, failures, lost
from vhdx.storage.smb.wire import Wire

_CREDITS = 1024
_CREDIT = 64 << 10
_PAUSE = 0.002


def url(server: str, port: int) -> str:
    """How a server is named in messages."""
    host = f"[{server}]" if ":" in server else server
    return f"smb://{host}" + ("" if port == 445 else f":{port}")


class SmbConnection:
    """A connection and its session. Safe to use from several threads."""

    def __init__(self, server: str, port: int, credentials: Credentials, settings: SmbSettings) -> None:
        self.server = server
        self.port = port
        self.settings = settings
        self.name = url(server, port)
        self.without_copy: set[tuple[str, str]] = set()
        self.without_zero: set[str] = set()
        self._sending = threading.Lock()
        self._trees: dict[str, TreeConnect] = {}
        self._trees_lock = threading.Lock()
        self._final: Wire | None = None
        self._connection = _connect(self.name, server, port, settings)
        try:
            self._session = self._log_on(credentials)
        except BaseException:
            self.abandon()
            raise

    def _log_on(self, credentials: Credentials) -> Session:
        session = Session(
            self._connection,
            credentials.account,
            credentials.password,
            require_encryption=self.settings.encrypt,
        )
        with failures(f"{self.name} as {credentials.account}"):
            session.connect()
            self._connection.echo(sid=session.session_id, credit_request=_CREDITS)
        return session

    @property
    def request_size(self) -> int:
        """Payload bytes of one read or write."""
        connection = self._connection
        limit = min(connection.max_read_size, connection.max_write_size, self.settings.request_size)
        return int(limit if connection.supports_multi_credit else min(limit, _CREDIT))

    @property
    def alive(self) -> bool:
        """Whether nothing has gone wrong with it yet."""
        transport = self._connection.transport
        return transport is not None and bool(transport.connected) and self._connection._t_exc is None

    def tree(self, share: str) -> TreeConnect:
        """The connected tree of a share. Raises FileNotFoundError, PermissionError."""
        with self._trees_lock:
            tree = self._trees.get(share.casefold())
            if tree is None:
                tree = TreeConnect(self._session, f"\\\\{self.server}\\{share}")
                with failures(f"{self.name}/{share}"):
                    tree.connect()
                self._trees[share.casefold()] = tree
            return tree

    def request(self, tree: TreeConnect, message: Any) -> Any:
        """Send one message as soon as there are credits; the library's own unpacking takes what this gives."""
        while (request := self._send(message, tree)) is None:
            time.sleep(_PAUSE)
        return request

    def call(self, tree: TreeConnect, message: Any) -> Any:
        """Send one message and wait for its answer, however long a live server takes."""
        return next(self.calls(tree, [message], depth=1))

    def calls(self, tree: TreeConnect, messages: Iterable[Any], *, depth: int) -> Iterator[Any]:
        """The answers to *messages* in their order, up to *depth* of them in flight.

        When one is refused, those in flight are waited for before its error is raised: nothing lands afterwards.
        """
        flying: deque[Any] = deque()
        try:
            for message in messages:
                if len(flying) >= depth:
                    yield self._receive(flying.popleft())
                request = self._send(message, tree)
                while request is None:
                    # Our own answers bring credits back; without any in flight, those of other threads do.
                    if flying:
                        yield self._receive(flying.popleft())
                    else:
                        time.sleep(_PAUSE)
                    request = self._send(message, tree)
                flying.append(request)
            while flying:
                yield self._receive(flying.popleft())
        finally:
            for request in flying:
                self._settle(request)

    def _send(self, message: Any, tree: TreeConnect) -> Any:
        """Send when there are credits for it; None when there are not."""
        with self._sending:
            if not self.alive:
                raise lost(self.name, "the connection is gone")
            charge = max(self._connection._calculate_credit_charge(message), 1)
            window = self._connection.sequence_window
            if window["high"] - window["low"] < charge:
                return None
            try:
                return self._connection.send(message, self._session.session_id, tree.tree_connect_id)
            except OSError as error:
                self.abandon()
                raise failure(error, self.name) from error

    def _receive(self, request: Any) -> Any:
        return self._connection.receive(request, resolve_symlinks=False)

    def _settle(self, request: Any) -> None:
        try:
            self._receive(request)
        except (SMBException, OSError):
            return

    def wire(self) -> Wire:
        """Bytes that crossed this connection so far."""
        transport = self._connection.transport
        if self._final is None and transport is not None and transport.connected:
            return wire.count(transport._sock) or Wire(0, 0)
        return self._final or Wire(0, 0)

    def close(self) -> None:
        """Log off and hang up; a server that is gone already is fine."""
        self._final = self.wire()
        try:
            self._connection.disconnect(True, timeout=self.settings.timeout)
        except (SMBException, OSError):
            self.abandon()

    def abandon(self) -> None:
        """Hang up without a word."""
        transport = self._connection.transport
        if transport is not None and transport._sock is not None:
            # Not through the library: its close takes a lock that a stuck sender holds.
            try:
                transport._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


def _connect(name: str, server: str, port: int, settings: SmbSettings) -> Connection:
    _keep_quiet()
    connection = Connection(uuid.uuid4(), server, port, require_signing=True)
    connection._receive_timeout = max(settings.timeout / 2, 1)
    try:
        connection.connect(timeout=settings.connect_timeout)
    except ValueError as error:
        raise ConnectionError(f"{name}: no connection ({error.__cause__ or 'refused'})") from error
    except (SMBException, OSError) as error:
        _hang_up(connection)
        raise failure(error, name) from error
    if connection.dialect < Dialects.SMB_3_0_0:
        _hang_up(connection)
        raise UnsupportedFeature(f"{name}: the server speaks nothing newer than SMB 2.1, and SMB 3.0 is needed")
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.transport._sock.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.timeout * 1000)
        )
    connection.transport._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _hang_up(connection: Connection) -> None:
    if connection.transport is not None:
        connection.disconnect(False)


def _keep_quiet() -> None:
    """At DEBUG the library logs whole payloads, at a thousandth of the speed, and tokens; it must never get there."""
    for name in ("smbprotocol", "spnego"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
