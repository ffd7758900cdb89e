"""The commit pipeline of VHDX: the only code that decides in which order things become durable.

A commit is: payload durable, log entry written, log entry durable, pages in place. The pages are durable before the
next entry is written, because every commit begins with a flush; so each entry stands alone, its tail is itself, and
two neighbours fit into the ring: whatever is torn, the log holds one whole entry that counts.

A file that nobody takes for an image yet (it is being created under a temporary name) is committed without a log.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from vhdx.extents import spans
from vhdx.format import log
from vhdx.format.log import EntryHeader, PageWrite
from vhdx.format.record import NO_GUID
from vhdx.image.base import NewId
from vhdx.image.vhdx.headers import Headers
from vhdx.logs import debug
from vhdx.storage.base import Storage

MIB = 1 << 20


class CommitOrder(Enum):
    """The order of a commit; anything but PAYLOAD_LOG_PAGES loses data in a crash, and is there to prove the tests."""

    PAYLOAD_LOG_PAGES = "payload, log, pages"
    PAGES_BEFORE_LOG = "payload, pages, log"
    LOG_BEFORE_PAYLOAD = "log, payload, pages"


class Journal(Protocol):
    """How staged pages become durable."""

    @property
    def most_pages(self) -> int:
        """Pages that one commit may hold."""

    def commit(self, pages: Sequence[PageWrite], file_size: int) -> None:
        """Make payload and *pages* durable, together. *file_size* is not less than what they refer to needs.

        It was the length of the file before this call: only of that the first flush makes sure.
        """

    def close(self) -> None:
        """Settle the log; everything is committed already."""


class LogJournal:
    """Commits through the log of the file."""

    def __init__(
        self, storage: Storage, headers: Headers, new_id: NewId, order: CommitOrder
    ) -> None:
        self._storage = storage
        self._headers = headers
        self._order = order
        self._ring = headers.header.log
        self._guid = new_id()
        self._position = 0
        self._sequence_number = 1
        self.most_pages = log.most_pages(self._ring.length)

    def commit(self, pages: Sequence[PageWrite], file_size: int) -> None:
        """Flush; then, when there are pages, log them and put them in place."""
        if self._order is not CommitOrder.LOG_BEFORE_PAYLOAD or not pages:
            self._storage.flush()
        if not pages:
            return
        if self._order is CommitOrder.PAGES_BEFORE_LOG:
            self._storage.write(pages)
        debug(__name__, "%s: committing %d pages", self._storage.name, len(pages))
        self._append(pages, file_size // MIB * MIB)
        self._storage.flush()
        if not self._headers.header.has_log:
            # The log counts from here on, and it already holds its first whole entry.
            self._headers.update(log_guid=self._guid)
        self._storage.write(pages)

    def _append(self, pages: Sequence[PageWrite], file_size: int) -> None:
        header = EntryHeader(
            entry_length=0,
            tail=self._position,
            sequence_number=self._sequence_number,
            descriptor_count=0,
            reserved=0,
            log_guid=self._guid,
            flushed_file_offset=file_size,
            last_file_offset=file_size,
        )
        entry = log.build_entry(header, pages)
        pieces = []
        at = 0
        for span in spans(self._position, len(entry), self._ring.length):
            pieces.append((self._ring.offset + span.within, entry[at : at + span.length]))
            at += span.length
        self._storage.write(pieces)
        self._position = (self._position + len(entry)) % self._ring.length
        self._sequence_number += 1

    def close(self) -> None:
        """Pages durable in place, then the log out of use."""
        if self._headers.header.has_log:
            self._storage.flush()
            self._headers.update(log_guid=NO_GUID)


class UnloggedJournal:
    """Commits of a file under construction: pages in place, one flush."""

    most_pages = 1 << 12

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def commit(self, pages: Sequence[PageWrite], file_size: int) -> None:  # noqa: ARG002
        """Everything in place, durable, in no order."""
        self._storage.write(pages)
        self._storage.flush()

    def close(self) -> None:
        """Nothing to settle."""
