"""Connections to servers, one for each server and account, made when first needed and again when lost."""

import os
import threading
from collections.abc import Sequence
from typing import NamedTuple, Self

from vhdx.logs import debug
from vhdx.storage import ownership
from vhdx.storage.credentials import Credentials
from vhdx.storage.smb.connection import SmbConnection, url
from vhdx.storage.smb.files import SmbFileSystem
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.status import lost
from vhdx.storage.smb.wire import Wire

DEFAULT_SETTINGS = SmbSettings()


class _Key(NamedTuple):
    server: str
    port: int
    credentials: Credentials
    settings: SmbSettings


class SmbPool:
    """Owns its connections; close it when done. Safe to use from several threads, and by one process.

    Shares of one server under one account and the same settings use one connection, so that the server can copy
    between them.
    """

    def __init__(self) -> None:
        self._opener = os.getpid()
        self._lock = threading.Lock()  # guards all that follows, and is never held while a server is waited for
        self._connections: dict[_Key, SmbConnection] = {}
        self._making: dict[_Key, threading.Lock] = {}
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
        """The files of a share; log-on and share are tried at once.

        Raises ConnectionError, PermissionError for a wrong account, FileNotFoundError for a share that does not exist,
        UnsupportedFeature for a server without a dialect that the settings allow.
        """
        key = _Key(server.casefold(), port, credentials, settings)
        files = SmbFileSystem(lambda: self._connection(key), url(server, port), share)
        self._connection(key).tree(share)
        return files

    def _connection(self, key: _Key) -> SmbConnection:
        if self._opener != os.getpid():
            raise ownership.refusal(f"{url(key.server, key.port)}: the connection", self._opener)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                connection = self._connections.get(key)
            if connection is not None and connection.alive:
                return connection
            if connection is not None:
                connection.abandon()
                self._forget(key)
                debug(__name__, "%s: the connection was lost, making another", connection.name)
            connection = SmbConnection(key.server, key.port, key.credentials, key.settings)
            debug(__name__, "%s: connected as %s", connection.name, key.credentials.username or "whom the ticket names")
            with self._lock:
                if not self._closed:
                    self._connections[key] = connection
                    return connection
            connection.close()
            raise lost(connection.name, "the pool of its connections is closed")

    def _forget(self, key: _Key) -> None:
        with self._lock:
            connection = self._connections.pop(key, None)
            if connection is not None:
                self._past = _sum([self._past, connection.wire()])

    def wire(self) -> Wire:
        """Bytes that crossed the wire so far, counted by the kernel at the sockets; zeros where it does not count."""
        if self._opener != os.getpid():
            return Wire(0, 0)
        with self._lock:
            return _sum([self._past, *(connection.wire() for connection in self._connections.values())])

    def close(self) -> None:
        """Log off everywhere; what is open stays lost. Idempotent."""
        if self._opener != os.getpid():  # its locks may be held for ever, by threads that did not come along
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
