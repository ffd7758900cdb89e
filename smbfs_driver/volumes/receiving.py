"""An image on its way into a share: written as it comes, and looked at before anything uses it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from smbfs_driver.volumes.names import DiskFormat
from vhdx.check import Severity, check_storage
from vhdx.errors import Error
from vhdx.storage.base import Storage

_PIECE = 4 << 20
_WEAK = frozenset({"md5", "sha1"})


@dataclass(frozen=True, slots=True)
class Digest:
    """What the bytes of an image must hash to: the name of an algorithm and the value in hexadecimal."""

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        if self.algorithm in _WEAK or self.algorithm not in hashlib.algorithms_guaranteed:
            raise Error(f"{self.algorithm} is no hash that an image can be checked by")


class Sink:
    """Takes an image piece by piece; `write` is all that a download asks of a file."""

    def __init__(self, storage: Storage, digest: Digest) -> None:
        self._storage = storage
        self._digest = digest
        self._hash = hashlib.new(digest.algorithm)
        self._pending = bytearray()
        self._written = 0

    def write(self, data: bytes) -> int:
        """The next bytes of the image."""
        self._hash.update(data)
        self._pending += data
        if len(self._pending) >= _PIECE:
            self._flush()
        return len(data)

    def _flush(self) -> None:
        self._storage.write([(self._written, bytes(self._pending))])
        self._written += len(self._pending)
        self._pending.clear()

    def finish(self) -> None:
        """The image is whole. Raises Error when it is not the one that was announced."""
        if self._pending:
            self._flush()
        self._storage.flush()
        if self._hash.hexdigest() != self._digest.value:
            raise Error(f"{self._storage.name}: the image does not hash to the {self._digest.algorithm} that it should")


@dataclass(frozen=True, slots=True)
class Announced:
    """An image that somebody has: its format, how it is fetched, and what its bytes hash to."""

    format: DiskFormat
    fetch: Callable[[Sink], None]
    digest: Digest


def check_sound(storage: Storage, format: DiskFormat) -> None:
    """Raises Error for an image that a check finds an error in."""
    for finding in check_storage(storage, format=format.image):
        if finding.severity is Severity.ERROR:
            raise Error(f"the image is damaged and is not used: {finding}")
