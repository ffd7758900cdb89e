"""An event of Windows, which an operation sets when it is done."""

from vhdx.virtdisk.constants import WAIT_OBJECT_0, WAIT_TIMEOUT
from vhdx.virtdisk.failures import failure
from vhdx.virtdisk.library import Library, last_error


class Event:
    """An event that stays set until it is reset, and is not set at first. Close it when it is no longer needed."""

    def __init__(self, library: Library) -> None:
        handle = library.kernel("CreateEventW", None, 1, 0, None)
        if not handle:
            raise failure("CreateEventW", last_error(), "an event")
        self.handle: int = handle
        self._library = library

    def wait(self, milliseconds: int) -> bool:
        """Whether it was set within that time."""
        answer = self._library.kernel("WaitForSingleObject", self.handle, milliseconds)
        if answer not in (WAIT_OBJECT_0, WAIT_TIMEOUT):
            raise failure("WaitForSingleObject", last_error(), "an event")
        return bool(answer == WAIT_OBJECT_0)

    def close(self) -> None:
        self._library.kernel("CloseHandle", self.handle)
