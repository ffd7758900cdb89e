"""Connections to servers, one per server, account and settings; opened on first use and reopened when lost."""

import os
import threading
from collections.abc import Sequence
from typing import NamedTuple, Self

from vhdx.logs import debug
from vhdx.storage import ownership
from vhdx.storage.credentials import Credentials
from vhdx.storage.smb.connection import SmbConnection, url
from vhdx.storage.smb.files import SmbFileSystem
from vhdx.storage.smb.handshake import account_name
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.status import lost
from vhdx.storage.smb.wire import Wire

DEFAULT_SETTINGS = SmbSettings()


class _Key(NamedTuple):
    server: str
    port: int
    credentials: Credentials
    settings: SmbSettings


class _Making:
    """The making of one connection: one thread tries at a time, and the threads that wait for it share its failure."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.failures = 0
        self.error: OSError | None = None

    def failed(self, error: OSError) -> None:
        """Keep a copy of *error* without the frames that raised it."""
        self.failures += 1
        self.error = type(error)(error.errno, error.strerror, error.filename)


class SmbPool:
    """Owns its connections; close it when done. Safe to use from several threads of one process.

    Shares of one server under one account and the same settings use one connection, so that the server can copy
    between them.
    """

    def __init__(self) -> None:
        self._opener = os.getpid()
        self._lock = threading.Lock()  # guards the attributes below; never held during requests
        self._connections: dict[_Key, SmbConnection] = {}
        self._making: dict[_Key, _Making] = {}
        self._past = Wire(0, 0)
        self._closed = False

    def share(
        self,
        server: str,
        share: str,
        *,
        port: int = 445,
        credentials: Credentials,
        settings: SmbSettings = DEFAULT_SETTINGS,
    ) -> SmbFileSystem:
        """Log on, connect to a share and return its files.

        Raises ConnectionError, PermissionError if the log-on fails, FileNotFoundError if the share does not exist,
        UnsupportedFeature if the server supports none of the dialects that *settings* allow.
        """
        key = _Key(server.casefold(), port, credentials, settings)
        files = SmbFileSystem(lambda: self._connection(key), url(server, port), share)
        self._connection(key).tree(share, known=False)
        return files

    def _connection(self, key: _Key) -> SmbConnection:
        if self._opener != os.getpid():
            raise ownership.refusal(f"{url(key.server, key.port)}: the connection", self._opener)
        with self._lock:
            making = self._making.setdefault(key, _Making())
            failures = making.failures
        with making.lock:
            with self._lock:
                connection = self._connections.get(key)
            if connection is not None and connection.alive:
                return connection
            if making.failures > failures and (error := making.error) is not None:
                # Trying one after the other would multiply the time, and wrong passwords lock an account.
                raise type(error)(error.errno, error.strerror, error.filename)
            if connection is not None:
                connection.abandon()
                self._forget(key)
                debug(__name__, "%s: connection lost, reconnecting", connection.name)
            return self._make(key, making)

    def _make(self, key: _Key, making: _Making) -> SmbConnection:
        try:
            connection = SmbConnection(key.server, key.port, key.credentials, key.settings)
        except OSError as error:
            making.failed(error)
            raise
        debug(__name__, "%s: connected as %s", connection.name, account_name(key.credentials))
        with self._lock:
            if not self._closed:
                self._connections[key] = connection
                return connection
        connection.close()
        raise lost(connection.name, "the connection pool is closed")

    def _forget(self, key: _Key) -> None:
        with self._lock:
            connection = self._connections.pop(key, None)
            if connection is not None:
                self._past = _sum([self._past, connection.wire()])

    def wire(self) -> Wire:
        """Bytes sent and received so far, as the kernel counts them; zero where it does not."""
        if self._opener != os.getpid():
            return Wire(0, 0)
        with self._lock:
            return _sum([self._past, *(connection.wire() for connection in self._connections.values())])

    def close(self) -> None:
        """Log off and close all connections; open files become unusable. Idempotent."""
        if self._opener != os.getpid():  # locks held by threads of the parent are never released here
            for connection in list(self._connections.values()):
                connection.close()
            return
        with self._lock:
            self._closed = True
            connections = list(self._connections.items())
        for key, connection in connections:
            connection.close()
            self._forget(key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sum(counts: Sequence[Wire]) -> Wire:
    return Wire(sum(count.sent for count in counts), sum(count.received for count in counts))
