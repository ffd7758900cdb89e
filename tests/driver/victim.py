"""A process that deletes a snapshot until it is killed: by itself at a given call, or by its parent at any moment."""

import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from smbfs_driver.volumes.volumes import Volumes
from tests.driver.kits import telling_ids
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import Credentials, SmbPool
from vhdx.storage.watched import Operation, WatchedFileSystem
from vhdx.verbs.engine import NativeEngine


@dataclass(frozen=True)
class Address:
    """Where the share is: a directory, or a server's share."""

    directory: str
    server: str = ""
    port: int = 0
    share: str = ""
    credentials: Credentials | None = None

    def files(self) -> FileSystem:
        if self.credentials is None:
            return LocalFileSystem(self.directory)
        return SmbPool().share(self.server, self.share, port=self.port, credentials=self.credentials)


class ToldEngine:
    """The real engine, telling which of its verbs is at work; outside of them it is the driver's own files."""

    def __init__(self, inner: NativeEngine) -> None:
        self._inner = inner
        self.verb = "driver"

    def __getattr__(self, verb: str) -> Any:
        def told(*arguments: Any, **options: Any) -> Any:
            self.verb = verb
            try:
                return getattr(self._inner, verb)(*arguments, **options)
            finally:
                self.verb = "driver"

        return told


def delete_snapshot(
    address: Address, volume: str, snapshot: str, at: int | None, kinds: frozenset[str], report: Connection
) -> None:
    """Delete a snapshot; die before call number *at* of one of *kinds* (all when empty). Tells what it was doing.

    With *at* None it only tells when it begins and which verb comes next, and lets itself be killed.
    """
    engine = ToldEngine(NativeEngine(telling_ids(1 << 16)))
    seen = 0

    def watch(operation: Operation) -> None:
        nonlocal seen
        if kinds and operation.kind not in kinds:
            return
        if seen == at:
            report.send(engine.verb)
            os.kill(os.getpid(), signal.SIGKILL)
        if at is None:
            report.send(engine.verb)
        seen += 1

    volumes = Volumes(WatchedFileSystem(address.files(), watch), engine, telling_ids(1 << 17))
    volumes.delete_snapshot(volume, snapshot)
    report.send("done")
