"""Validation of arguments."""

from operator import index
from typing import SupportsIndex


def whole(name: str, value: SupportsIndex) -> int:
    """Return argument *name* as an int. Raises TypeError for a float, a str, None."""
    try:
        return index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{name} is {value!r}, a {kind}: give a whole number of bytes as an int") from None
