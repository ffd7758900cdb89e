"""An answer of Windows as one of this package's errors."""

import errno

from vhdx.errors import Error, FormatError, ParentNotFound
from vhdx.virtdisk.codes import DISK_CODES, SYSTEM_CODES, Code, Kind

_NUMBERS: dict[Kind, int] = {
    FileNotFoundError: errno.ENOENT,
    FileExistsError: errno.EEXIST,
    PermissionError: errno.EACCES,
    ConnectionError: errno.ECONNRESET,
    OSError: errno.EIO,
}


class Refused(Exception):
    """A function of Windows failed. *code* is its answer, *symbol* Microsoft's name of that, "" if it is unknown."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(function, code)
        self.function = function
        self.code = code

    @property
    def symbol(self) -> str:
        known = known_code(self.code)
        return "" if known is None else known.name

    def __str__(self) -> str:
        return f"{self.function} answered {told(self.code)}"


def known_code(code: int) -> Code | None:
    """What the tables say of a code."""
    return DISK_CODES.get(code) or SYSTEM_CODES.get(code)


def told(code: int) -> str:
    """A code as messages show it: its number, in hexadecimal where it is a large one, and Microsoft's name."""
    known = known_code(code)
    number = f"0x{code:08X}" if code > 0xFFFF else str(code)
    return f"{number} {known.name}" if known else number


def failure(function: str, code: int, file: str) -> Exception:
    """The error for an answer; its `__cause__` is the Refused with the code. *file* is what the call was about."""
    error = _error(function, code, file)
    error.__cause__ = Refused(function, code)
    return error


def refusal(error: BaseException) -> Refused | None:
    """The answer of Windows behind an error."""
    return error.__cause__ if isinstance(error.__cause__, Refused) else None


def _error(function: str, code: int, file: str) -> Exception:
    known = known_code(code)
    if known is None:
        return OSError(errno.EIO, f"{function} failed with the code {told(code)}, see Microsoft's list", file)
    reason = f"{known.meaning}; {known.remedy} ({told(code)})"
    if issubclass(known.kind, OSError):
        return known.kind(_NUMBERS[known.kind], reason, file)
    if issubclass(known.kind, FormatError):
        return known.kind(known.structure, None, reason, file=file)
    if issubclass(known.kind, ParentNotFound):
        return known.kind(file, [reason])
    error: Error = known.kind(f"{file}: {reason}")
    return error
