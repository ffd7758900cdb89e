"""Moving an open disk to another file while it is used: MirrorVirtualDisk and BreakMirrorVirtualDisk."""

import ctypes
from types import TracebackType
from typing import Self

from vhdx.errors import Cancelled
from vhdx.virtdisk.constants import MirrorFlag, MirrorVersion
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.operation import INTERVAL, Operation, Progress, begin
from vhdx.virtdisk.structures import MIRROR_VIRTUAL_DISK_PARAMETERS
from vhdx.virtdisk.text import wide


class Mirror:
    """A mirror under way: what is written goes to both files. Leaving its `with` block gives it up, unless it was used.

    The original stays the disk's file until `use`.
    """

    def __init__(self, disk: VirtualDisk, path: str, *, flags: MirrorFlag = MirrorFlag.NONE) -> None:
        parameters = MIRROR_VIRTUAL_DISK_PARAMETERS(Version=MirrorVersion.VERSION_1)
        parameters.Version1.MirrorVirtualDiskPath = wide("path", path)
        self._disk = disk
        self._operation: Operation = begin(disk, "MirrorVirtualDisk", flags, ctypes.byref(parameters))

    def synchronise(self, on_progress: Progress | None = None) -> None:
        """Wait until both files hold the same. Raises what `failure` makes of a mirror that failed."""
        while not self._operation.ended(INTERVAL):
            done, total = self._operation.progress()
            if on_progress is not None:
                on_progress(done, total)
            if done == total:
                return
        self._operation.check()

    def use(self) -> None:
        """Go on with the mirror alone; the original is no longer written to. Raises what `failure` makes of it."""
        self._disk.call("BreakMirrorVirtualDisk")
        self._operation.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._operation:
            self._operation.stop()
        if kind is None:
            self._tell_failure()

    def _tell_failure(self) -> None:
        try:
            self._operation.check()
        except Cancelled:
            return  # by leaving the block
