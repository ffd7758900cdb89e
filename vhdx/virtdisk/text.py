"""Text for Windows: UTF-16 that ends with a zero, and lists of such texts."""

import ctypes
from itertools import takewhile
from typing import Any

from vhdx.errors import Error


def wide(name: str, text: str) -> "ctypes.Array[ctypes.c_uint16]":
    """Argument *name* as UTF-16 with a zero at its end; surrogates without a partner, which Windows allows, stay.

    Raises Error for a zero within it, which Windows would take for its end.
    """
    if "\0" in text:
        raise Error(f"{name} is {text!r}: it holds a zero character, where Windows would cut it off")
    encoded = f"{text}\0".encode("utf-16-le", "surrogatepass")
    return (ctypes.c_uint16 * (len(encoded) // 2)).from_buffer_copy(encoded)


def optional(name: str, text: str | None) -> Any:
    """As `wide`; a null pointer for None."""
    return None if text is None else wide(name, text)


def narrow(encoded: bytes) -> tuple[str, ...]:
    """The texts of a buffer, each of which ends with a zero, up to an empty one or the end of the buffer."""
    whole = encoded[: len(encoded) // 2 * 2].decode("utf-16-le", "surrogatepass")
    return tuple(takewhile(bool, whole.split("\0")))
