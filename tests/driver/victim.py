"""A process that deletes a snapshot until it is killed: by itself at a given call, or by its parent at any moment."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from smbfs_driver.volumes import Volumes
from tests.driver.kits import telling_ids
from vhdx.engine import NativeEngine
from vhdx.image.base import CreateOptions, ImageInfo
from vhdx.merge import Progress
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import Credentials, SmbPool
from vhdx.storage.watched import Operation, WatchedFileSystem


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

    @contextmanager
    def _during(self, verb: str) -> Iterator[None]:
        self.verb = verb
        yield
        self.verb = "driver"

    def create(self, files: FileSystem, path: str, size: int, options: CreateOptions | None = None) -> None:
        with self._during("create"):
            self._inner.create(files, path, size, options)

    def create_child(
        self, files: FileSystem, path: str, parent: str, *, size: int | None = None, replace: bool = False
    ) -> None:
        with self._during("create child"):
            self._inner.create_child(files, path, parent, size=size, replace=replace)

    def info(self, files: FileSystem, path: str) -> ImageInfo:
        with self._during("info"):
            return self._inner.info(files, path)

    def layers(self, files: FileSystem, path: str) -> list[str]:
        with self._during("layers"):
            return self._inner.layers(files, path)

    def resize(self, files: FileSystem, path: str, size: int) -> None:
        with self._during("resize"):
            self._inner.resize(files, path, size)

    def merge(self, files: FileSystem, top: str, target: str, *, on_progress: Progress | None = None) -> None:
        with self._during("merge"):
            self._inner.merge(files, top, target, on_progress=on_progress)

    def relink(self, files: FileSystem, child: str, parent: str) -> None:
        with self._during("relink"):
            self._inner.relink(files, child, parent)

    def clone(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        size: int | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        with self._during("clone"):
            self._inner.clone(source_files, source, target_files, target, size=size, on_progress=on_progress)


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
