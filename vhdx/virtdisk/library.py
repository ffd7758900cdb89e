"""virtdisk.dll and what it needs of kernel32.dll, loaded when a function is first called."""

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

from vhdx.errors import UnsupportedFeature
from vhdx.logs import debug
from vhdx.virtdisk.failures import failure
from vhdx.virtdisk.functions import KERNEL, VIRTDISK, VIRTDISK_RETURNS

SYSTEM_DIRECTORY_ONLY = 0x00000800
"""LOAD_LIBRARY_SEARCH_SYSTEM32: no file of this name beside a program or in its directory is loaded instead."""


class Library:
    """The functions of Windows for virtual disks; *path* names another library that has them.

    Nothing is loaded before the first call. For use by several threads.
    """

    def __init__(self, path: str = "virtdisk.dll") -> None:
        self._path = path
        self._lock = threading.Lock()
        self._bound: dict[str, Callable[..., Any]] = {}
        self._loaded: dict[str, Any] = {}

    def code(self, function: str, *arguments: Any) -> int:
        """What a function of virtdisk.dll answers. Raises UnsupportedFeature where there is no such function."""
        found = self._function(self._path, function, VIRTDISK_RETURNS, VIRTDISK[function])
        code: int = found(*arguments)
        debug(__name__, "%s: %#x", function, code)
        return code

    def call(self, file: str, function: str, *arguments: Any) -> None:
        """Call a function of virtdisk.dll about *file*. Raises what `failure` makes of any answer but success."""
        if code := self.code(function, *arguments):
            raise failure(function, code, file)

    def kernel(self, function: str, *arguments: Any) -> Any:
        """What a function of kernel32.dll returns."""
        returns, takes = KERNEL[function]
        return self._function("kernel32.dll", function, returns, takes)(*arguments)

    def _function(self, path: str, name: str, returns: Any, takes: tuple[Any, ...]) -> Callable[..., Any]:
        with self._lock:
            if name not in self._bound:
                if path not in self._loaded:
                    self._loaded[path] = _load(path)
                self._bound[name] = _bind(self._loaded[path], path, name, returns, takes)
            return self._bound[name]


def last_error() -> int:
    """Why the function of kernel32.dll that this thread called last failed."""
    if sys.platform == "win32":
        return ctypes.get_last_error()
    return 0


def _load(path: str) -> Any:
    if sys.platform == "win32":
        try:
            return ctypes.WinDLL(path, use_last_error=True, winmode=SYSTEM_DIRECTORY_ONLY)
        except OSError as error:
            raise UnsupportedFeature(f"{path}: it cannot be loaded ({error}); use this package's own engine") from error
    raise UnsupportedFeature(f"{path}: a part of Windows, and this is {sys.platform}; use this package's own engine")


def _bind(library: Any, path: str, name: str, returns: Any, takes: tuple[Any, ...]) -> Callable[..., Any]:
    try:
        function: Any = getattr(library, name)
    except AttributeError:
        raise UnsupportedFeature(f"{path}: it has no {name}; this needs a newer Windows") from None
    function.restype = returns
    function.argtypes = takes
    bound: Callable[..., Any] = function
    return bound
