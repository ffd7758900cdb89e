"""The two header slots of an open file, kept by the update rules of MS-VHDX 2.2.2.1."""

from uuid import UUID

from vhdx.format import header as format_header
from vhdx.format.header import Current, Header
from vhdx.image.base import NewId
from vhdx.storage.base import Storage


class Headers:
    """Each update goes to the slot that is not in force and is flushed: a torn one leaves the other standing."""

    def __init__(self, storage: Storage, current: Current, new_id: NewId) -> None:
        self._storage = storage
        self._current = current
        self._new_id = new_id
        self._session: UUID | None = None

    @property
    def header(self) -> Header:
        """The header in force."""
        return self._current.header

    def update(
        self, *, data_write_guid: UUID | None = None, log_guid: UUID | None = None, both_slots: bool = True
    ) -> None:
        """Make a change of GUIDs durable; the first update of a session also brings a fresh FileWriteGuid.

        Both slots end up with the same content unless the caller is going to update again at once.
        """
        if self._session is None:
            self._session = self._new_id()
        for _ in range(2 if both_slots else 1):
            following = format_header.successor(
                self.header, file_write_guid=self._session, data_write_guid=data_write_guid, log_guid=log_guid
            )
            slot = 1 - self._current.slot
            self._storage.write([(format_header.OFFSETS[slot], format_header.build(following))])
            self._storage.flush()
            self._current = Current(following, slot)
