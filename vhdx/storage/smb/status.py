"""What a server's refusals mean in the terms of the storage contract."""

import contextlib
import errno
import struct
from collections.abc import Iterator

from smbprotocol.exceptions import SMBConnectionClosed, SMBResponseException

from vhdx.errors import Error, FormatError, InUse, OutOfSpace
from vhdx.storage.smb.messages import Answer

PENDING = 0x00000103
MORE_PROCESSING_REQUIRED = 0xC0000016
NO_SUCH_FILE = 0xC000000F
FILE_CLOSED = 0xC0000128
SHARE_GONE = 0xC00000C9
NO_MORE_FILES = 0x80000006
INVALID_PARAMETER = 0xC000000D
END_OF_FILE = 0xC0000011
INVALID_DEVICE_REQUEST = 0xC0000010
ACCESS_DENIED = 0xC0000022
SHARING_VIOLATION = 0xC0000043
DELETE_PENDING = 0xC0000056
INVALID_HANDLE = 0xC0000008
NOT_SUPPORTED = 0xC00000BB
NOT_IMPLEMENTED = 0xC0000002
INVALID_VIEW_SIZE = 0xC000001F
OBJECT_NAME_NOT_FOUND = 0xC0000034

UNSUPPORTED = frozenset({NOT_SUPPORTED, NOT_IMPLEMENTED, INVALID_DEVICE_REQUEST})
"""The server does not know the request at all."""

_MISSING = {
    OBJECT_NAME_NOT_FOUND: "no such file",
    0xC000003A: "no such directory",
    NO_SUCH_FILE: "no such file",
    0xC0000123: "it was removed",
    0xC00000CC: "the server has no such share",
}
_EXISTS = {0xC0000035: "it exists already"}
_DENIED = {
    ACCESS_DENIED: "the server denies access to this account",
    0xC00000A2: "the share is read-only",
    0xC00000CA: "the server denies access over the network",
    0xC0000061: "the account lacks a privilege",
    0xC0000121: "the file cannot be deleted (STATUS_CANNOT_DELETE)",
    0xC0000064: "no such account",
    0xC000006F: "the account may not log on at this hour",
    0xC0000070: "the account may not log on from here",
    0xC000015B: "the account may not log on over the network",
    0xC0000193: "the account has expired",
    0xC0000224: "the password must be changed first",
    0xC000006D: "wrong user name or password",
    0xC000006E: "the account is restricted",
    0xC0000071: "the password has expired",
    0xC0000072: "the account is disabled",
    0xC0000234: "the account is locked out",
}
_BUSY = {
    SHARING_VIOLATION: "somebody else has it open",
    0xC0000054: "somebody else has locked it",
    DELETE_PENDING: "it is being deleted, and somebody still has it open",
}
_QUOTA = "the quota of this account is used up"
_FULL = {0xC000007F: "the share is full", 0xC0000044: _QUOTA, 0xC0000802: _QUOTA}
_WRONG = {
    0xC00000BA: "a directory, not a file",
    0xC0000103: "not a directory",
    0xC0000033: "not a name that the server allows",
    0xC000003B: "not a path that the server allows",
    0xC0000257: "it lies on another server (DFS); name that server's share",
    0x8000002D: "a symbolic link on the server, which is not followed; name the file that it leads to",
}
SESSION_GONE = {0xC0000203: "the server has ended the session", 0xC000035C: "the session has expired"}
_LOST = SESSION_GONE | {
    SHARE_GONE: "the share went away",
    FILE_CLOSED: "the server has closed the file",
    INVALID_HANDLE: "the server does not know the file any more",
}


class Refused(Exception):
    """The server's answer to a request is no; *answer* may say more."""

    def __init__(self, status: int, answer: Answer) -> None:
        super().__init__(f"status {status:#010x}")
        self.status = status
        self.answer = answer


def failure(error: Exception, name: str) -> Exception:
    """What the contract calls *error*; *name* is the file, share or server that it is about."""
    if isinstance(error, Refused | SMBResponseException):
        return _refusal(error.status, name)
    if isinstance(error, SMBConnectionClosed):
        return lost(name, f"the log-on broke off ({error})")
    if isinstance(error, struct.error):
        return lost(name, "the server's answer is malformed")
    if isinstance(error, OSError):
        return lost(name, error.strerror or str(error))
    # Its text may quote what the server sent or what we sent; the kind says enough.
    return lost(name, f"the conversation with the server broke down ({type(error).__name__})")


def lost(name: str, reason: str) -> ConnectionError:
    """The error for a connection that cannot be used any more."""
    return ConnectionError(errno.ECONNRESET, reason, name)


def _refusal(status: int, name: str) -> Exception:  # noqa: PLR0911  a table in the shape of code
    if status in _MISSING:
        return FileNotFoundError(errno.ENOENT, _MISSING[status], name)
    if status in _EXISTS:
        return FileExistsError(errno.EEXIST, _EXISTS[status], name)
    if status in _DENIED:
        return PermissionError(errno.EACCES, _DENIED[status], name)
    if status in _BUSY:
        return InUse(f"{name}: {_BUSY[status]}")
    if status in _FULL:
        return OutOfSpace(f"{name}: {_FULL[status]}; make room and try again")
    if status in _WRONG:
        return Error(f"{name}: {_WRONG[status]}")
    if status in _LOST:
        return lost(name, _LOST[status])
    if status in (END_OF_FILE, INVALID_VIEW_SIZE):
        return FormatError("file", None, "it ends before the bytes that were asked for", file=name)
    return OSError(errno.EIO, f"the server answered with status {status:#010x}", name)


@contextlib.contextmanager
def failures(name: str) -> Iterator[None]:
    """Translate everything that a conversation with the server raises in here."""
    try:
        yield
    except (Refused, ConnectionError, TimeoutError, struct.error) as error:
        raise failure(error, name) from error


def refusal(error: BaseException) -> Refused | None:
    """The server's refusal behind a translated error."""
    return error.__cause__ if isinstance(error.__cause__, Refused) else None
