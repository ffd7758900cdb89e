"""Numbers for structures: ctypes would cut off what does not fit."""

from vhdx.errors import Error


def u32(name: str, value: int) -> int:
    """Argument *name*. Raises Error where it does not fit into 32 bits."""
    return _fits(name, value, 32)


def u64(name: str, value: int) -> int:
    """Argument *name*. Raises Error where it does not fit into 64 bits."""
    return _fits(name, value, 64)


def _fits(name: str, value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise Error(f"{name} is {value}: Windows takes 0 to {(1 << bits) - 1}")
    return value
