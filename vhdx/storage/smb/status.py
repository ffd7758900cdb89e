"""NTSTATUS codes of responses as errors of the storage contract (MS-ERREF 2.3.1)."""

import contextlib
import errno
import struct
from collections.abc import Iterator
from enum import IntEnum

from smbprotocol.exceptions import SMBConnectionClosed, SMBResponseException

from vhdx.errors import Error, FormatError, InUse, OutOfSpace
from vhdx.storage.smb.messages import Response


class NtStatus(IntEnum):
    """NTSTATUS codes, named as in MS-ERREF 2.3.1 without ``STATUS_``."""

    PENDING = 0x00000103
    NO_MORE_FILES = 0x80000006
    STOPPED_ON_SYMLINK = 0x8000002D
    NOT_IMPLEMENTED = 0xC0000002
    INVALID_HANDLE = 0xC0000008
    INVALID_PARAMETER = 0xC000000D
    NO_SUCH_FILE = 0xC000000F
    INVALID_DEVICE_REQUEST = 0xC0000010
    END_OF_FILE = 0xC0000011
    MORE_PROCESSING_REQUIRED = 0xC0000016
    INVALID_VIEW_SIZE = 0xC000001F
    ACCESS_DENIED = 0xC0000022
    OBJECT_NAME_INVALID = 0xC0000033
    OBJECT_NAME_NOT_FOUND = 0xC0000034
    OBJECT_NAME_COLLISION = 0xC0000035
    OBJECT_PATH_NOT_FOUND = 0xC000003A
    OBJECT_PATH_SYNTAX_BAD = 0xC000003B
    SHARING_VIOLATION = 0xC0000043
    QUOTA_EXCEEDED = 0xC0000044
    FILE_LOCK_CONFLICT = 0xC0000054
    DELETE_PENDING = 0xC0000056
    PRIVILEGE_NOT_HELD = 0xC0000061
    NO_SUCH_USER = 0xC0000064
    LOGON_FAILURE = 0xC000006D
    ACCOUNT_RESTRICTION = 0xC000006E
    INVALID_LOGON_HOURS = 0xC000006F
    INVALID_WORKSTATION = 0xC0000070
    PASSWORD_EXPIRED = 0xC0000071
    ACCOUNT_DISABLED = 0xC0000072
    DISK_FULL = 0xC000007F
    INSUFFICIENT_RESOURCES = 0xC000009A
    MEDIA_WRITE_PROTECTED = 0xC00000A2
    IO_TIMEOUT = 0xC00000B5
    FILE_IS_A_DIRECTORY = 0xC00000BA
    NOT_SUPPORTED = 0xC00000BB
    NETWORK_NAME_DELETED = 0xC00000C9
    NETWORK_ACCESS_DENIED = 0xC00000CA
    BAD_NETWORK_NAME = 0xC00000CC
    REQUEST_NOT_ACCEPTED = 0xC00000D0
    UNEXPECTED_IO_ERROR = 0xC00000E9
    NOT_A_DIRECTORY = 0xC0000103
    CANCELLED = 0xC0000120
    CANNOT_DELETE = 0xC0000121
    FILE_DELETED = 0xC0000123
    FILE_CLOSED = 0xC0000128
    LOGON_TYPE_NOT_GRANTED = 0xC000015B
    IO_DEVICE_ERROR = 0xC0000185
    ACCOUNT_EXPIRED = 0xC0000193
    USER_SESSION_DELETED = 0xC0000203
    INSUFF_SERVER_RESOURCES = 0xC0000205
    PASSWORD_MUST_CHANGE = 0xC0000224
    ACCOUNT_LOCKED_OUT = 0xC0000234
    PATH_NOT_COVERED = 0xC0000257
    NETWORK_SESSION_EXPIRED = 0xC000035C
    SERVER_UNAVAILABLE = 0xC0000466
    DISK_QUOTA_EXCEEDED = 0xC0000802


UNSUPPORTED: frozenset[int] = frozenset(
    {NtStatus.NOT_SUPPORTED, NtStatus.NOT_IMPLEMENTED, NtStatus.INVALID_DEVICE_REQUEST}
)
"""The server does not implement the request."""

_NOT_FOUND: dict[int, str] = {
    NtStatus.OBJECT_NAME_NOT_FOUND: "no such file",
    NtStatus.OBJECT_PATH_NOT_FOUND: "no such directory",
    NtStatus.NO_SUCH_FILE: "no such file",
    NtStatus.FILE_DELETED: "the file was deleted",
}
_EXISTS: dict[int, str] = {NtStatus.OBJECT_NAME_COLLISION: "already exists"}
_DENIED: dict[int, str] = {
    NtStatus.ACCESS_DENIED: "the server denies access to this account",
    NtStatus.MEDIA_WRITE_PROTECTED: "the share is read-only",
    NtStatus.NETWORK_ACCESS_DENIED: "the server denies access over the network",
    NtStatus.PRIVILEGE_NOT_HELD: "the account lacks a privilege",
    NtStatus.CANNOT_DELETE: "the file cannot be deleted (STATUS_CANNOT_DELETE)",
    NtStatus.NO_SUCH_USER: "no such account",
    NtStatus.INVALID_LOGON_HOURS: "the account may not log on at this hour",
    NtStatus.INVALID_WORKSTATION: "the account may not log on from this machine",
    NtStatus.LOGON_TYPE_NOT_GRANTED: "the account may not log on over the network",
    NtStatus.ACCOUNT_EXPIRED: "the account has expired",
    NtStatus.PASSWORD_MUST_CHANGE: "the password must be changed first",
    NtStatus.LOGON_FAILURE: "wrong user name or password",
    NtStatus.ACCOUNT_RESTRICTION: "the account is restricted",
    NtStatus.PASSWORD_EXPIRED: "the password has expired",
    NtStatus.ACCOUNT_DISABLED: "the account is disabled",
    NtStatus.ACCOUNT_LOCKED_OUT: "the account is locked out",
}
_IN_USE: dict[int, str] = {
    NtStatus.SHARING_VIOLATION: "in use by another client",
    NtStatus.FILE_LOCK_CONFLICT: "locked by another client",
    NtStatus.DELETE_PENDING: "being deleted; another client still has it open",
}
_QUOTA = "the quota of this account is exceeded"
_FULL: dict[int, str] = {
    NtStatus.DISK_FULL: "the share is full",
    NtStatus.QUOTA_EXCEEDED: _QUOTA,
    NtStatus.DISK_QUOTA_EXCEEDED: _QUOTA,
}
_INVALID: dict[int, str] = {
    NtStatus.FILE_IS_A_DIRECTORY: "is a directory, not a file",
    NtStatus.NOT_A_DIRECTORY: "is not a directory",
    NtStatus.OBJECT_NAME_INVALID: "the server does not allow this name",
    NtStatus.OBJECT_PATH_SYNTAX_BAD: "the server does not allow this path",
    NtStatus.PATH_NOT_COVERED: "is on another server (DFS); give the share of that server",
    NtStatus.STOPPED_ON_SYMLINK: "is a symbolic link on the server and not followed; give the path of its target",
}
SESSION_LOST: dict[int, str] = {
    NtStatus.USER_SESSION_DELETED: "the server has ended the session",
    NtStatus.NETWORK_SESSION_EXPIRED: "the session has expired",
}
_LOST: dict[int, str] = SESSION_LOST | {
    NtStatus.NETWORK_NAME_DELETED: "the server has disconnected the share",
    NtStatus.BAD_NETWORK_NAME: "the share does not exist",
    NtStatus.FILE_CLOSED: "the server has closed the file",
    NtStatus.INVALID_HANDLE: "the FileId is no longer valid on the server",
}


class Refused(Exception):
    """A response with an error status; *response* may hold more."""

    def __init__(self, status: int, response: Response) -> None:
        super().__init__(status_name(status))
        self.status = status
        self.response = response


def status_name(status: int) -> str:
    """``STATUS_ACCESS_DENIED (0xc0000022)``; only the number for a code that is not in `NtStatus`."""
    try:
        return f"STATUS_{NtStatus(status).name} ({status:#010x})"
    except ValueError:
        return f"NTSTATUS {status:#010x}"


def failure(error: Exception, name: str) -> Exception:
    """*error* as an error of the storage contract; *name* is the file, share or server."""
    if isinstance(error, Refused | SMBResponseException):
        return _refusal(error.status, name)
    if isinstance(error, SMBConnectionClosed):
        return lost(name, f"the log-on was interrupted ({error})")
    if isinstance(error, struct.error):
        return lost(name, "malformed response")
    if isinstance(error, OSError):
        return lost(name, error.strerror or str(error))
    # The text of the exception may contain data that was sent or received, so only its type is shown.
    return lost(name, f"the connection failed ({type(error).__name__})")


def admission_failure(status: int, name: str, step: str) -> OSError:
    """An error status of NEGOTIATE, SESSION_SETUP or TREE_CONNECT: PermissionError or ConnectionError.

    It may be unsigned, and is never an answer about a file. *step* is what was refused.
    """
    if status in _DENIED:
        return PermissionError(errno.EACCES, _DENIED[status], name)
    return lost(name, _LOST.get(status) or f"the server refused {step}: {status_name(status)}")


def missing_share(name: str) -> FileNotFoundError:
    """The error for STATUS_BAD_NETWORK_NAME that the server has signed."""
    return FileNotFoundError(errno.ENOENT, _LOST[NtStatus.BAD_NETWORK_NAME], name)


def lost(name: str, reason: str) -> ConnectionError:
    """The error for a lost connection."""
    return ConnectionError(errno.ECONNRESET, reason, name)


def _refusal(status: int, name: str) -> Exception:  # noqa: PLR0911  one return per table
    if status in _NOT_FOUND:
        return FileNotFoundError(errno.ENOENT, _NOT_FOUND[status], name)
    if status in _EXISTS:
        return FileExistsError(errno.EEXIST, _EXISTS[status], name)
    if status in _DENIED:
        return PermissionError(errno.EACCES, _DENIED[status], name)
    if status in _IN_USE:
        return InUse(f"{name}: {_IN_USE[status]}")
    if status in _FULL:
        return OutOfSpace(f"{name}: {_FULL[status]}; make room and try again")
    if status in _INVALID:
        return Error(f"{name}: {_INVALID[status]}")
    if status in _LOST:
        return lost(name, _LOST[status])
    if status in (NtStatus.END_OF_FILE, NtStatus.INVALID_VIEW_SIZE):
        return FormatError("file", None, "the range extends beyond end of file", file=name)
    return OSError(errno.EIO, f"the server returned {status_name(status)}", name)


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Translate errors of the connection; an error status remains Refused."""
    try:
        yield
    except (ConnectionError, TimeoutError, struct.error) as error:
        raise failure(error, name) from error


@contextlib.contextmanager
def failures(name: str) -> Iterator[None]:
    """Translate errors of requests into errors of the storage contract."""
    try:
        yield
    except (Refused, ConnectionError, TimeoutError, struct.error) as error:
        raise failure(error, name) from error


def refusal(error: BaseException) -> Refused | None:
    """The error response behind a translated error; None if there was none."""
    return error.__cause__ if isinstance(error.__cause__, Refused) else None
