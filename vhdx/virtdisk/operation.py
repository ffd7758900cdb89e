"""A long call of virtdisk.dll that has begun: watched, cancelled where asked, and waited for.

Windows writes into the OVERLAPPED when the call is done, so that structure, its event and what else was passed are kept
until then, whatever happens here.
"""

import ctypes
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from vhdx.virtdisk.constants import ERROR_IO_PENDING, ERROR_NOT_FOUND
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.failures import failure
from vhdx.virtdisk.library import last_error
from vhdx.virtdisk.request import Request
from vhdx.virtdisk.structures import VIRTUAL_DISK_PROGRESS

Progress = Callable[[int, int], None]
"""Done and in all, whose quotient alone means anything; it never falls. Whatever this raises cancels the call."""

INTERVAL = 100
"""Milliseconds from one look at the progress to the next."""


class Operation:
    """A call of *function* that answered *code*: pending, or done. Leaving its `with` block cancels what is pending.

    *passed* are the arguments, which are kept until it is done.
    """

    def __init__(self, request: Request, disk: VirtualDisk, function: str, code: int, *passed: Any) -> None:
        self._request = request
        self._disk = disk
        self._function = function
        self._passed = passed
        self._result = None if code == ERROR_IO_PENDING else code
        self._most = (0, 1)

    def finish(self, on_progress: Progress | None = None) -> None:
        """Wait until it is done. Raises what `failure` makes of its result, and what *on_progress* raises."""
        while not self.ended(INTERVAL):
            if on_progress is not None:
                on_progress(*self.progress())
        self.check()

    def ended(self, milliseconds: int) -> bool:
        """Whether it has ended within that time."""
        if self._result is None and self._request.wait(milliseconds):
            self._result = self._outcome()
        return self._result is not None

    def progress(self) -> tuple[int, int]:
        """Done and in all; where Windows tells less than before, what it told before."""
        state = self._state()
        if state is not None and state.CompletionValue:
            done, total = self._most
            now: tuple[int, int] = (min(state.CurrentValue, state.CompletionValue), state.CompletionValue)
            if now[0] * total >= done * now[1]:
                self._most = now
        return self._most

    def check(self) -> None:
        """Raises what `failure` makes of the result, where it has ended and failed."""
        if self._result:
            raise failure(self._function, self._result, self._disk.file)

    def stop(self) -> None:
        """Cancel it, if it has not ended, and wait for its end. What came of it, `check` tells."""
        if self._result is not None:
            return
        try:
            self._cancel()
            while not self.ended(INTERVAL):
                pass
        except BaseException:
            _keep_for_ever(self)  # Windows may still write into it
            raise

    def _cancel(self) -> None:
        asked = self._disk.library.kernel("CancelIoEx", self._disk.handle, self._request.reference)
        if not asked and last_error() != ERROR_NOT_FOUND:  # not found: it has just ended
            raise failure("CancelIoEx", last_error(), self._disk.file)

    def _outcome(self) -> int:
        state = self._state()
        if state is None or state.OperationStatus == ERROR_IO_PENDING:
            return self._request.status
        return int(state.OperationStatus)

    def _state(self) -> VIRTUAL_DISK_PROGRESS | None:
        """What Windows tells of the call; None where it tells nothing."""
        state = VIRTUAL_DISK_PROGRESS()
        code = self._disk.code("GetVirtualDiskOperationProgress", self._request.reference, ctypes.byref(state))
        return None if code else state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._request.close()


def begin(disk: VirtualDisk, function: str, *arguments: Any) -> Operation:
    """Begin a call that takes the handle first and an OVERLAPPED last. Raises what `failure` makes of its answer."""
    request = Request(disk.library)
    operation = Operation(request, disk, function, disk.code(function, *arguments, request.reference), arguments)
    try:
        operation.check()
    except BaseException:
        request.close()
        raise
    return operation


def run(disk: VirtualDisk, function: str, *arguments: Any, on_progress: Progress | None = None) -> None:
    """Begin such a call and wait until it is done.

    Raises what `failure` makes of its result. What *on_progress* raises cancels it, and is raised when it has ended.
    """
    with begin(disk, function, *arguments) as operation:
        operation.finish(on_progress)


def _keep_for_ever(kept: object) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
