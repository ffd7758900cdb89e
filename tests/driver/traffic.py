"""What operations on volumes ask of a server, counted in a relay in front of it."""

import struct
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from uuid import UUID

from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes.shape import DYNAMIC_VHDX
from smbfs_driver.worker.backend import Backend
from tests.support.relay import Frame, Relay, Verdict
from vhdx.storage.base import FileSystem
from vhdx.storage.smb.messages import HEADER_LENGTH, Command
from vhdx.storage.smb.status import NtStatus
from vhdx.verbs.engine import NativeEngine

SIZE = 64 << 20
_NEXT = slice(20, 24)  # where the header says that another request follows in the same frame
_NAME = struct.Struct("<HH")  # offset and length of the name, at 44 of the body of a CREATE
_PATTERN = 24  # the same of a QUERY_DIRECTORY
_FROM_THE_START = 0x11  # RESTART_SCANS or REOPEN, among the flags of a QUERY_DIRECTORY, at 3 of its body


def volume(number: int) -> str:
    """A volume's name."""
    return f"volume-{UUID(int=number)}"


def snapshot(number: int) -> str:
    """A snapshot's id."""
    return str(UUID(int=1000 + number))


@dataclass
class Count:
    """What crossed the relay: requests by command, bytes that came back, and successful openings of images.

    *listings* are those for which a server reads every name of a directory.
    """

    requests: Counter[int] = field(default_factory=Counter)
    received: int = 0
    opens: Counter[str] = field(default_factory=Counter)
    listings: list[str] = field(default_factory=list)
    _asked: dict[int, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All requests, also those that share a frame."""
        return self.requests.total()

    def __call__(self, frame: Frame) -> Verdict:
        if frame.from_client:
            self._ask(frame.data)
        elif frame.status != NtStatus.PENDING:  # that an answer takes its time is none
            self.received += len(frame.data) + 4
            name = self._asked.pop(frame.number, None)
            if name is not None and frame.status == 0 and name.endswith(".vhdx"):
                self.opens[name] += 1
        return Verdict.PASS

    def _ask(self, data: bytes) -> None:
        while data:
            following = int.from_bytes(data[_NEXT], "little")
            command = int.from_bytes(data[12:14], "little")
            self.requests[command] += 1
            if command == Command.CREATE:
                self._asked[int.from_bytes(data[24:32], "little")] = _name(data, 44)
            elif command == Command.QUERY_DIRECTORY and data[HEADER_LENGTH + 3] & _FROM_THE_START:
                pattern = _name(data, _PATTERN)
                if "*" in pattern:
                    self.listings.append(pattern)
            data = data[following:] if following else b""


def _name(request: bytes, place: int) -> str:
    offset, length = _NAME.unpack_from(request, HEADER_LENGTH + place)
    return request[offset : offset + length].decode("utf-16-le")


class Counted:
    """The backend of a service, over a relay that counts."""

    def __init__(self, files: FileSystem, share: Share, relay: Relay) -> None:
        self.files = files
        self.address = share.address
        self.backend = Backend([share], lambda _: files)
        self._relay = relay

    def count(self, operation: Callable[[], object]) -> Count:
        """What *operation* asks of the server."""
        counted = Count()
        self._relay.rule = counted
        try:
            operation()
        finally:
            self._relay.rule = lambda frame: Verdict.PASS
        return counted

    def create(self, number: int, size: int = SIZE) -> None:
        self.backend.create(self.address, volume(number), size, DYNAMIC_VHDX)

    def write(self, number: int, sector: int) -> None:
        """As the volume's guest."""
        active = self.backend.active(self.address, volume(number))
        with closing(NativeEngine().open_chain(self.files, active, writable=1, orphan=True)) as chain:
            chain.write(sector * 512, bytes([sector % 255 + 1]) * 512)

    def with_snapshots(self, number: int, count: int) -> None:
        """A volume with so many snapshots, and something written before and after each."""
        self.create(number)
        self.write(number, 0)
        for at in range(count):
            self.backend.create_snapshot(self.address, volume(number), snapshot(at))
            self.write(number, at + 1)

    def operations(self, first: int) -> dict[str, Count]:
        """Each operation of the table, on volumes from number *first* on."""
        backend, at, name = self.backend, self.address, volume(first)
        counts = {"create": self.count(lambda: self.create(first))}
        self.write(first, 1)
        counts["extend"] = self.count(lambda: backend.extend(at, name, 2 * SIZE))
        counts["create_snapshot"] = self.count(lambda: backend.create_snapshot(at, name, snapshot(0)))
        self.write(first, 2)
        counts["revert"] = self.count(lambda: backend.revert(at, name, snapshot(0)))
        counts["clone"] = self.count(
            lambda: backend.clone(
                at, volume(first + 1), name, size=2 * SIZE, onto=at, shape=DYNAMIC_VHDX, snapshot_id=None
            )
        )
        counts["delete"] = self.count(lambda: backend.delete(at, volume(first + 1)))
        self.write(first, 3)
        counts["delete_snapshot"] = self.count(lambda: backend.delete_snapshot(at, name, snapshot(0)))
        return counts
