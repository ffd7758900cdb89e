"""Download of an image to a share: written as a stream, and checked before use."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from smbfs_driver.volumes.names import DiskFormat
from smbfs_driver.volumes.refusals import BadImage
from vhdx.check import Severity, check_storage
from vhdx.storage.base import Storage

_PIECE = 4 << 20
_WEAK = frozenset({"md5", "sha1"})


@dataclass(frozen=True, slots=True)
class Digest:
    """The expected hash of an image: algorithm and hexadecimal value."""

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        if self.algorithm in _WEAK or self.algorithm not in hashlib.algorithms_guaranteed:
            raise BadImage(f"hash algorithm {self.algorithm} is not supported")


class Sink:
    """A writable file object for a download."""

    def __init__(self, storage: Storage, digest: Digest) -> None:
        self._storage = storage
        self._digest = digest
        self._hash = hashlib.new(digest.algorithm)
        self._pending = bytearray()
        self._written = 0

    def write(self, data: bytes) -> int:
        """Append bytes to the image."""
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
        """Complete the image. Raises Error if its hash differs from the expected one."""
        if self._pending:
            self._flush()
        self._storage.flush()
        if self._hash.hexdigest() != self._digest.value:
            reason = f"{self._digest.algorithm} mismatch: the image was altered or damaged"
            raise BadImage(f"{self._storage.name}: {reason}")


@dataclass(frozen=True, slots=True)
class Announced:
    """An image to download: its format, a function that fetches it, and its expected hash."""

    format: DiskFormat
    fetch: Callable[[Sink], None]
    digest: Digest


def check_sound(storage: Storage, format: DiskFormat) -> None:
    """Check an image. Raises Error if there is a finding of severity ERROR."""
    for finding in check_storage(storage, format=format.image):
        if finding.severity is Severity.ERROR:
            raise BadImage(f"the image is damaged and was not used: {finding}")
