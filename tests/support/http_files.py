"""Files of a web server, for reading: a transport in one module."""

import posixpath
import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import NoReturn
from urllib.parse import quote, unquote

from vhdx.errors import Error, FormatError, ReadOnly
from vhdx.extents import Range
from vhdx.location.transport import Place, Transport, TransportMeans
from vhdx.storage.base import (
    Access,
    Buffer,
    Can,
    Capabilities,
    FileStatus,
    FileSystem,
    Move,
    Space,
    Storage,
    Unsupported,
)
from vhdx.storage.beneath import names_below, outside

_URL = re.compile(r"http://(?P<host>[^/@:]+)(?::(?P<port>[0-9]+))?/(?P<path>[^?#]+)")


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """A file of a web server."""

    host: str
    port: int
    path: str

    @property
    def home(self) -> Hashable:
        return self.host.casefold(), self.port

    def text(self, path: str) -> str:
        return f"http://{self.host}:{self.port}/{quote(path)}"

    def reach(self, means: TransportMeans) -> Place:
        if means.auth is not None or means.encrypt:
            raise Error(f"{self.text(self.path)}: this server is asked without an account and in the clear")
        return Place(self, HttpFiles(self), self.path)


def parse_url(text: str) -> HttpAddress:
    found = _URL.fullmatch(text)
    if found is None:
        raise Error(f"not a URL of a file; it reads {HTTP.form}")
    return HttpAddress(found["host"], int(found["port"] or 80), unquote(found["path"]))


HTTP = Transport("http://server[:port]/path", lambda text: text.lower().startswith("http:"), parse_url)


class HttpFiles:
    """The files of one server."""

    has_permissions = False

    def __init__(self, address: HttpAddress) -> None:
        self._address = address

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        """The length that the server tells, and what it sends."""
        with closing(HTTPConnection(self._address.host, self._address.port, timeout=10)) as connection:
            connection.request(method, f"/{quote(path)}", headers=headers)
            answer = connection.getresponse()
            if answer.status == 404:
                raise FileNotFoundError(2, "no such file", self.describe(path))
            if answer.status not in (200, 206):
                raise OSError(5, f"status {answer.status}", self.describe(path))
            return int(answer.headers["Content-Length"]), answer.read()

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        if access.writes:
            self._refuse(path)
        self.resolve(path, beneath=beneath)
        return HttpStorage(self, path, self.stat(path))

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        if beneath is not None and names_below(posixpath.normpath(path), beneath) is None:
            raise outside(path, beneath)
        return path

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        self._refuse(path)

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        self._refuse(source)

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        self._refuse(path)

    def stat(self, path: str) -> FileStatus:
        size, _ = self.ask("HEAD", path)
        return FileStatus((self._address.home, path), size, size, 0.0)

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        raise PermissionError(13, "a web server lists nothing", self.describe(directory))

    def staying(self, directory: str) -> AbstractContextManager[FileSystem]:
        return nullcontext(self)

    def space(self) -> Space:
        return Space(0, 0)

    def sync_directory(self, directory: str) -> None:
        self._refuse(directory)

    def describe(self, path: str) -> str:
        return self._address.text(path)

    def _refuse(self, path: str) -> NoReturn:
        raise ReadOnly(f"{self.describe(path)}: a web server is read only")


class HttpStorage:
    """One file of a web server."""

    writable = False

    def __init__(self, files: HttpFiles, path: str, status: FileStatus) -> None:
        self.name = files.describe(path)
        self._files, self._path, self._status = files, path, status

    def can(self) -> Capabilities:
        return Capabilities(Can.NO, Can.NO, Can.NO)

    def can_copy(self, source: Storage) -> Can:
        return Can.NO

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        for offset, buffer in pieces:
            if offset + len(buffer) > self._status.size:
                raise FormatError("file", offset, f"the file ends at {self._status.size}", file=self.name)
            if len(buffer):
                _, buffer[:] = self._files.ask("GET", self._path, Range=f"bytes={offset}-{offset + len(buffer) - 1}")

    def innermost(self) -> Storage:
        return self

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        raise Unsupported("holes are not known")

    def flush(self) -> None:
        """There is nothing to write."""

    def size(self) -> int:
        return self._status.size

    def identity(self) -> Hashable:
        return self._status.identity

    def status(self) -> FileStatus:
        return self._status

    def close(self) -> None:
        """Nothing is held."""

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        self._refuse()

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        self._refuse()

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._refuse()

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._refuse()

    def truncate(self, size: int) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnly(f"{self.name}: a web server is read only")
