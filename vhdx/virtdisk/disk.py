"""An open virtual disk: the handle that every function takes."""

import weakref
from types import TracebackType
from typing import Any, Self

from vhdx.errors import Error
from vhdx.virtdisk.library import Library


class VirtualDisk:
    """A handle of virtdisk.dll; *file* is the path that messages name. It is closed with the `with` block.

    Do not close it while another thread uses it.
    """

    def __init__(self, library: Library, file: str, handle: int) -> None:
        self.library = library
        self.file = file
        self._handle = handle
        self._close = weakref.finalize(self, library.kernel, "CloseHandle", handle)

    @property
    def handle(self) -> int:
        """The handle. Raises Error once it is closed."""
        if not self._close.alive:
            raise Error(f"{self.file}: it is closed; open it again")
        return self._handle

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of virtdisk.dll with the handle first. Raises what `failure` makes of its answer."""
        self.library.call(self.file, function, self.handle, *arguments)

    def code(self, function: str, *arguments: Any) -> int:
        """As `call`, but return the answer."""
        return self.library.code(function, self.handle, *arguments)

    def close(self) -> None:
        """Close the handle. Idempotent. What Windows attached stays attached only if that was asked for."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
