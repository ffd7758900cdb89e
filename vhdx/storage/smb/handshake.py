"""Connect, NEGOTIATE and SESSION_SETUP by smbprotocol.

The result is a socket, the session's keys and the negotiated limits, which `channel` takes over. Only this module and
`logon` use internals of smbprotocol.
"""

import errno
import importlib
import logging
import socket
import struct
import traceback
from dataclasses import dataclass
from typing import Any

from smbprotocol.connection import (
    Ciphers,
    Connection,
    SigningAlgorithms,
)
from smbprotocol.exceptions import SMBAuthenticationError, SMBConnectionClosed, SMBException, SMBResponseException
from smbprotocol.session import Session

from vhdx.errors import Error, UnsupportedFeature
from vhdx.storage.credentials import Credentials
from vhdx.storage.dialect import Dialect, span
from vhdx.storage.smb.logon import MALFORMED, LogOn
from vhdx.storage.smb.messages import CREDIT
from vhdx.storage.smb.protection import Cipher, Keys, Signing
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.status import UNSUPPORTED, admission_failure, failure, lost

_LEAST_TRANSACT_SIZE = 4096
"""Bytes for one name in a listing, and for a copychunk request."""
_LOG_LEVELS = {
    "smbprotocol": logging.WARNING,
    "smbprotocol.connection": logging.CRITICAL,
    "spnego": logging.WARNING,
}
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error)
"""What smbprotocol and the libraries below it raise for malformed responses."""

_GUEST = "guest"
_UNSAFE = "the session is unprotected: the server allows only a guest session, or the connection is under attack"
_UNSAFE_FOR_GUEST = "the server requires signing or encryption, but a guest session has no keys; give an account"
_SIGNING = [SigningAlgorithms.AES_GMAC, SigningAlgorithms.AES_CMAC]
_CIPHERS = [Ciphers.AES_128_GCM, Ciphers.AES_128_CCM, Ciphers.AES_256_GCM, Ciphers.AES_256_CCM]


@dataclass(frozen=True, slots=True)
class Negotiation:
    """VALIDATE_NEGOTIATE_INFO request and expected response (MS-SMB2 2.2.31.4, 2.2.32.6)."""

    request: bytes
    response: bytes
    needs_validation: bool


@dataclass(frozen=True, slots=True)
class Established:
    """An established session; smbprotocol no longer uses the socket."""

    socket: socket.socket
    keys: Keys
    encrypted: bool
    sequence_window: tuple[int, int]  # usable MessageIds: the first, and the one after the last (MS-SMB2 3.2.4.1.6)
    read_size: int
    write_size: int
    transact_size: int
    negotiation: Negotiation
    multi_credit: bool = True  # whether requests have a CreditCharge (SMB2_GLOBAL_CAP_LARGE_MTU)


def establish(name: str, server: str, port: int, credentials: Credentials, settings: SmbSettings) -> Established:
    """Connect and log on.

    Raises ConnectionError, PermissionError for a failed log-on, UnsupportedFeature if the server lacks the dialect or
    encryption that *settings* require, Error for contradictory settings.
    """
    if credentials.guest and settings.encrypt:
        raise Error(f"{name}: a guest session cannot be encrypted; give an account, or do not require encryption")
    _keep_quiet()
    connection = LogOn(
        server,
        port,
        settings.dialects(),
        require_signing=not credentials.guest,
        patience=settings.connect_timeout,
    )
    try:
        try:
            _negotiate(connection, name, settings)
            _check_sizes(connection, name)
            session = _log_on(connection, f"{name} as {account_name(credentials)}", credentials)
        finally:
            connection.over.set()
        if settings.encrypt and not connection.supports_encryption:
            raise UnsupportedFeature(
                f"{name}: the server does not support encryption; enable it there, or do not require it"
            )
        connection._t_worker.join()
        return _established(connection, session, credentials, settings)
    except _MALFORMED as error:
        connection.disconnect(close=False)
        raise lost(name, MALFORMED) from error
    except BaseException:
        if connection.transport is not None:
            connection.disconnect(close=False)
        raise


def account_name(credentials: Credentials) -> str:
    """The account in messages; never the password."""
    if credentials.guest:
        return "a guest"
    return credentials.account or "the owner of the Kerberos ticket"


def _negotiate(connection: Connection, name: str, settings: SmbSettings) -> None:
    offered = settings.dialects()
    wanted = span(offered[0], offered[-1])
    without = f"{name}: the server does not support {wanted}, which is required"
    try:
        connection.connect(
            dialect=int(offered[-1]),
            timeout=settings.connect_timeout,
            preferred_encryption_algos=_CIPHERS,
            preferred_signing_algos=_SIGNING,
        )
    except SMBResponseException as error:
        if error.status in UNSUPPORTED:
            raise UnsupportedFeature(without) from error
        raise admission_failure(error.status, name, "NEGOTIATE") from error
    except SMBException as error:
        raise lost(name, f"the server does not respond, or does not support {wanted}") from error
    except (OSError, ValueError) as error:
        if connection.transport.connected:
            raise
        raise lost(name, f"cannot connect: {_reason(error.__cause__ or error)}") from error
    if connection.dialect not in offered:
        raise UnsupportedFeature(without)


def _check_sizes(connection: Any, name: str) -> None:
    """Raise ConnectionError for limits that are too small to work with (MS-SMB2 2.2.4); they may be unsigned."""
    for size, value, least in (
        ("MaxReadSize", connection.max_read_size, CREDIT),
        ("MaxWriteSize", connection.max_write_size, CREDIT),
        ("MaxTransactSize", connection.max_transact_size, _LEAST_TRANSACT_SIZE),
    ):
        if value < least:
            raise lost(name, f"the server's {size} is {value} bytes, and at least {least} are needed")


def _reason(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _log_on(connection: Connection, name: str, credentials: Credentials) -> Session:
    session = Session(
        connection,
        _GUEST if credentials.guest else credentials.account or _ticket(credentials),
        credentials.password or _ticket(credentials),
        require_encryption=False,
        auth_protocol=_protocol(credentials),
    )
    try:
        session.connect()
    except Exception as error:
        _clear_frames(error)
        if not isinstance(error, _known_failures()):
            raise
        raise _log_on_failure(error, name, credentials) from error
    finally:
        session.password = None
    return session


def _log_on_failure(error: Exception, name: str, credentials: Credentials) -> Exception:
    """The error for a failed log-on."""
    if isinstance(error, ImportError):
        return ModuleNotFoundError("Kerberos requires the extra vhdx[kerberos]", name=error.name)
    # The Kerberos errors are raised below smbprotocol, while a ticket is obtained with the password.
    if isinstance(error, (SMBAuthenticationError, *_kerberos_errors())):
        return PermissionError(errno.EACCES, _refused(error, credentials), name)
    if isinstance(error, SMBResponseException):
        return admission_failure(error.status, name, "SESSION_SETUP")
    if isinstance(error, SMBConnectionClosed | OSError):
        return failure(error, name)
    if isinstance(error, SMBException):
        return PermissionError(errno.EACCES, _UNSAFE_FOR_GUEST if credentials.guest else _UNSAFE, name)
    return lost(name, MALFORMED)


def _known_failures() -> tuple[type[Exception], ...]:
    return (ImportError, OSError, SMBException, *_MALFORMED, *_kerberos_errors())


def _clear_frames(error: BaseException) -> None:
    """Clear the local variables of the traceback, some of which hold the password: error reports may show them."""
    seen: set[int] = set()
    causes: list[BaseException | None] = [error]
    while causes:
        cause = causes.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            traceback.clear_frames(cause.__traceback__)
            causes += [cause.__cause__, cause.__context__]


def _ticket(credentials: Credentials) -> str | None:
    """A missing name or password as smbprotocol expects it: None selects the ticket in the credential cache."""
    return None if credentials.kerberos else ""


def _protocol(credentials: Credentials) -> str:
    if credentials.kerberos:
        return "kerberos"
    return "ntlm" if credentials.guest or credentials.kerberos is False else "negotiate"


def _kerberos_errors() -> tuple[type[Exception], ...]:
    try:
        krb5, gssapi = importlib.import_module("krb5"), importlib.import_module("gssapi.exceptions")
    except ImportError:
        return ()
    return (krb5.Krb5Error, gssapi.GSSError)


def _refused(error: Exception, credentials: Credentials) -> str:
    """Why a log-on failed on the client side; with the text of Kerberos only if no password is involved."""
    if not credentials.kerberos or credentials.password:
        return "the account cannot be used to log on"
    cause: Any = error
    while cause is not None and not hasattr(cause, "get_all_statuses"):
        cause = cause.__cause__
    return f"no Kerberos ticket that can be used to log on: {error if cause is None else _words(cause)}"


def _words(error: Any) -> str:
    """The minor status as text, or the major status if the minor one means success (an expired context)."""
    found = error.get_all_statuses(error.min_code, is_maj=False)
    if not error.min_code or found == ["Success"]:
        found = error.get_all_statuses(error.maj_code, is_maj=True)
    return "; ".join(found)


def _established(connection: Any, session: Any, credentials: Credentials, settings: SmbSettings) -> Established:
    large = bool(connection.supports_multi_credit)
    return Established(
        socket=connection.transport._sock,
        keys=_keys(connection, session, credentials),
        encrypted=bool(session.encrypt_data or settings.encrypt),
        sequence_window=(connection.sequence_window["low"], connection.sequence_window["high"]),
        read_size=connection.max_read_size if large else 1 << 16,
        write_size=connection.max_write_size if large else 1 << 16,
        transact_size=min(connection.max_transact_size, CREDIT),
        negotiation=_negotiation(connection, is_guest=session.signing_key is None),
        multi_credit=large,
    )


def _keys(connection: Any, session: Any, credentials: Credentials) -> Keys:
    if session.signing_key is None:
        # A log-on with an account must not result in a guest session, whatever the server returns.
        if not credentials.guest:
            raise PermissionError(errno.EACCES, _UNSAFE, connection.server_name)
        return Keys(session.session_id, None, None, b"", b"", b"")
    return Keys(
        session_id=session.session_id,
        signing=_signing(connection),
        cipher=_cipher(connection) if connection.supports_encryption else None,
        signing_key=session.signing_key,
        encryption_key=session.encryption_key or b"",
        decryption_key=session.decryption_key or b"",
    )


def _signing(connection: Any) -> Signing:
    if connection.dialect < Dialect.SMB_3_0:
        return Signing.HMAC_SHA256
    agreed = connection.signing_algorithm_id if connection.dialect >= Dialect.SMB_3_1_1 else None
    if agreed is None:
        return Signing.AES_CMAC
    if agreed not in _SIGNING:
        raise ValueError("the server selected a signing algorithm that was not offered")
    return Signing(agreed)


def _cipher(connection: Any) -> Cipher:
    return Cipher(connection.cipher_id if connection.dialect >= Dialect.SMB_3_1_1 else Ciphers.AES_128_CCM)


def _negotiation(connection: Any, *, is_guest: bool) -> Negotiation:
    dialects = connection.negotiated_dialects
    # There is no ClientGuid if only SMB 2.0.2 is offered.
    client = connection.client_guid.bytes if connection.client_guid else bytes(16)
    request = b"".join(
        [
            int(connection.client_capabilities).to_bytes(4, "little"),
            client,
            int(connection.client_security_mode).to_bytes(2, "little"),
            len(dialects).to_bytes(2, "little"),
            *(int(dialect).to_bytes(2, "little") for dialect in dialects),
        ]
    )
    response = b"".join(
        [
            int(connection.server_capabilities.get_value()).to_bytes(4, "little"),
            connection.server_guid.bytes,
            int(connection.server_security_mode).to_bytes(2, "little"),
            int(connection.dialect).to_bytes(2, "little"),
        ]
    )
    # SMB 3.1.1 derives the keys from a hash of the negotiation, which validates it. A guest session has no keys to
    # validate it with.
    needs_validation = connection.dialect < Dialect.SMB_3_1_1 and not is_guest
    return Negotiation(request, response, needs_validation)


def _keep_quiet() -> None:
    """Limit the library's logging: at DEBUG it logs tokens, and its thread logs our exceptions with a traceback."""
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
