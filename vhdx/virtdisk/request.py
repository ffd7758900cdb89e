"""The OVERLAPPED of one long call, and its event."""

import ctypes
from typing import Any

from vhdx.virtdisk.event import Event
from vhdx.virtdisk.library import Library
from vhdx.virtdisk.structures import OVERLAPPED


class Request:
    """What Windows writes into when a call is done. Close it after that, never before."""

    def __init__(self, library: Library) -> None:
        self._event = Event(library)
        self._overlapped = OVERLAPPED(hEvent=self._event.handle)

    @property
    def reference(self) -> Any:
        """The OVERLAPPED as an argument."""
        return ctypes.byref(self._overlapped)

    @property
    def status(self) -> int:
        """The NTSTATUS of the call."""
        return int(self._overlapped.Internal) & 0xFFFFFFFF

    def wait(self, milliseconds: int) -> bool:
        """Whether the call was done within that time."""
        return self._event.wait(milliseconds)

    def close(self) -> None:
        self._event.close()
