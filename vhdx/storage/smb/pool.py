"""Connections to servers, one for each server and account, made when first needed and again when lost."""

import threading
from typing import NamedTuple, Self

from vhdx.storage.smb.account import Credentials, SmbSettings
from vhdx.storage.smb.connection import SmbConnection, url
from vhdx.storage.smb.files import SmbFileSystem
from vhdx.storage.smb.wire import Wire

DEFAULT_SETTINGS = SmbSettings()


class _Key(NamedTuple):
    server: str
    port: int
    credentials: Credentials
    settings: SmbSettings


class SmbPool:
    """Owns its connections; close it when done. Safe to use from several threads.

    Shares of one server under one account and the same settings use one connection, so that the server can copy
    between them.
    """

    def __init__(self) -> None:
        self._connections: dict[_Key, SmbConnection] = {}
        self._locks: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()
        self._past = Wire(0, 0)

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

        Raises ConnectionError, PermissionError for a wrong account, FileNotFoundError for a share that is not there,
        UnsupportedFeature for a server without SMB 3.
        """
        key = _Key(server.casefold(), port, credentials, settings)
        files = SmbFileSystem(lambda: self._connection(key), url(server, port), share)
        self._connection(key).tree(share)
        return files

    def _connection(self, key: _Key) -> SmbConnection:
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            connection = self._connections.get(key)
            if connection is not None and connection.alive:
                return connection
            if connection is not None:
                self._forget(connection)
            self._connections[key] = SmbConnection(key.server, key.port, key.credentials, key.settings)
            return self._connections[key]

    def _forget(self, connection: SmbConnection) -> None:
        connection.abandon()
        counted = connection.wire()
        self._past = Wire(self._past.sent + counted.sent, self._past.received + counted.received)

    def wire(self) -> Wire:
        """Bytes that crossed the wire so far, counted by the kernel at the sockets; zeros where it does not count."""
        counts = [self._past, *(connection.wire() for connection in self._connections.values())]
        return Wire(sum(count.sent for count in counts), sum(count.received for count in counts))

    def close(self) -> None:
        """Log off everywhere."""
        with self._lock:
            for connection in self._connections.values():
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
