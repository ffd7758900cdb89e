"""From nothing to a session, by smbprotocol: dialect, algorithms, log-on and the keys that follow from it.

What smbprotocol leaves behind is a socket and a few numbers; `channel` goes on with them. All that is touched of
smbprotocol's insides is touched here.
"""

import errno
import importlib
import logging
import socket
import struct
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

from smbprotocol.connection import (
    Ciphers,
    Connection,
    SigningAlgorithms,
    SMB2NegotiateRequest,
    SMB3NegotiateRequest,
)
from smbprotocol.exceptions import SMBAuthenticationError, SMBConnectionClosed, SMBException, SMBResponseException
from smbprotocol.session import Session

from vhdx.errors import Error, UnsupportedFeature
from vhdx.storage.credentials import Credentials
from vhdx.storage.dialect import Dialect, span
from vhdx.storage.smb.messages import HEADER_LENGTH, Command
from vhdx.storage.smb.protection import Cipher, Keys, Signing
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.status import MORE_PROCESSING_REQUIRED, PENDING, UNSUPPORTED, failure, lost

_LONGEST = 1 << 20
_LOG_LEVELS = {
    "smbprotocol": logging.WARNING,
    "smbprotocol.connection": logging.CRITICAL,
    "spnego": logging.WARNING,
}
_PAUSE = 0.05  # seconds
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error)
"""What parsing raises, in smbprotocol and below it, where a server sends nonsense."""

_NEGOTIATE_LENGTH = 36  # of the request, up to the dialects
_GUEST = "guest"
_UNSAFE = "the log-on gives no protection: only a guest is let in, or somebody tampers with the connection"
_UNSAFE_FOR_GUEST = "the server wants signatures or encryption, and a guest has no key for either; give an account"
_SIGNING = [SigningAlgorithms.AES_GMAC, SigningAlgorithms.AES_CMAC]
_CIPHERS = [Ciphers.AES_128_GCM, Ciphers.AES_128_CCM, Ciphers.AES_256_GCM, Ciphers.AES_256_CCM]


@dataclass(frozen=True, slots=True)
class Negotiation:
    """What both sides said before the log-on, to be confirmed under signature where SMB 3.1.1 is not spoken."""

    claim: bytes
    confirmation: bytes
    needs_confirmation: bool


@dataclass(frozen=True, slots=True)
class Established:
    """A session that is ready: its socket is ours alone from here on."""

    socket: socket.socket
    keys: Keys
    encrypted: bool
    numbers: tuple[int, int]  # the message numbers that may be used: the next one, and the one after the last
    read_size: int
    write_size: int
    negotiation: Negotiation
    charges: bool = True  # whether requests say how many credits they cost


class _LogOn(Connection):  # type: ignore[misc]
    """A connection whose thread ends, leaving the socket open, once the log-on is answered or nothing more comes.

    *dialects* are offered, the oldest first.
    """

    def __init__(self, server: str, port: int, dialects: list[Dialect], *, require_signing: bool) -> None:
        self.over = threading.Event()  # nothing more will be asked
        self._answered = False
        self._dialects = dialects
        super().__init__(uuid.uuid4(), server, port, require_signing=require_signing)

    def send(self, message: Any, **options: Any) -> Any:
        """Offer our dialects: the library would offer one, or all whose signatures it may use."""
        if isinstance(message, SMB2NegotiateRequest | SMB3NegotiateRequest):
            _offer(message, self._dialects)
            self.negotiated_dialects = self._dialects
        return super().send(message, **options)

    def _process_message_thread(self) -> None:
        self.transport.recv = self._frame
        super()._process_message_thread()

    def _frame(self, timeout: float) -> bytes:
        """The next message, or nothing when there is none to wait for."""
        if self._answered and self._is_over():
            return b""
        try:
            data = self._next(timeout)
        except OSError as error:
            # Raised, it would be logged with a traceback; kept here, every call that waits finds it.
            self._t_exc = SMBConnectionClosed(error.strerror or str(error))
            return b""
        status = int.from_bytes(data[8:12], "little")
        final = status not in (MORE_PROCESSING_REQUIRED, PENDING)
        self._answered = data[12] == Command.SESSION_SETUP and final
        return data

    def _is_over(self) -> bool:
        """Wait until nothing more is asked, or until something is, though the server has ended the log-on."""
        while not self.over.wait(_PAUSE):
            if any(request.response is None for request in list(self.outstanding_requests.values())):
                return False
        return True

    def _next(self, timeout: float) -> bytes:
        while True:
            try:
                return _receive(self.transport._sock, time.monotonic() + timeout)
            except TimeoutError:
                # While nothing is asked, as when a ticket is fetched elsewhere, silence means nothing.
                if self.outstanding_requests:
                    raise

    @property
    def _t_exc(self) -> Exception | None:
        """What every call that waits raises: of one kind, though hostile bytes make the library raise any."""
        return self._failure

    @_t_exc.setter
    def _t_exc(self, error: Exception | None) -> None:
        known = error is None or isinstance(error, SMBException)
        self._failure = error if known else SMBConnectionClosed("the server's answer is malformed")


def _offer(message: Any, dialects: list[Dialect]) -> None:
    message["dialects"] = [int(dialect) for dialect in dialects]
    if isinstance(message, SMB3NegotiateRequest):
        end = HEADER_LENGTH + _NEGOTIATE_LENGTH + 2 * len(dialects)
        # The library aligns what follows only for odd counts.
        padding = -end % 8
        message["padding"].size = padding
        message["padding"] = bytes(padding)
        message["negotiate_context_offset"] = end + padding


def _receive(connection: socket.socket, deadline: float) -> bytes:
    length = int.from_bytes(_take(connection, 4, deadline), "big")
    if not HEADER_LENGTH <= length <= _LONGEST:
        raise ConnectionError("the server sends what is not SMB")
    return _take(connection, length, deadline)


def _take(connection: socket.socket, length: int, deadline: float) -> bytes:
    data = bytearray()
    try:
        while len(data) < length:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(length - len(data))
            if not part:
                raise ConnectionError("the server hung up")
            data += part
    finally:
        connection.settimeout(None)
    return bytes(data)


def establish(name: str, server: str, port: int, credentials: Credentials, settings: SmbSettings) -> Established:
    """Connect and log on.

    Raises ConnectionError, PermissionError for an account that is refused, UnsupportedFeature for a server without
    a dialect or the encryption that is asked for, Error where no server could have what is asked for.
    """
    if credentials.guest and settings.encrypt:
        raise Error(f"{name}: what a guest does cannot be encrypted; give an account, or do without encryption")
    _keep_quiet()
    connection = _LogOn(server, port, settings.dialects(), require_signing=not credentials.guest)
    connection._receive_timeout = settings.connect_timeout
    try:
        try:
            _negotiate(connection, name, settings)
            session = _log_on(connection, f"{name} as {_who(credentials)}", credentials)
        finally:
            connection.over.set()
        if settings.encrypt and not connection.supports_encryption:
            raise UnsupportedFeature(f"{name}: the server cannot encrypt; do without, or have it set up there")
        connection._t_worker.join()
        return _established(connection, session, credentials, settings)
    except _MALFORMED as error:
        connection.disconnect(close=False)
        raise lost(name, "the server's answer is malformed") from error
    except BaseException:
        if connection.transport is not None:
            connection.disconnect(close=False)
        raise


def _who(credentials: Credentials) -> str:
    if credentials.guest:
        return "a guest"
    return credentials.account or "the holder of the ticket"


def _negotiate(connection: Connection, name: str, settings: SmbSettings) -> None:
    offered = settings.dialects()
    wanted = span(offered[0], offered[-1])
    without = f"{name}: the server does not speak {wanted}, which is needed"
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
        raise failure(error, name) from error
    except SMBException as error:
        raise lost(name, f"the server does not answer, or not in {wanted}") from error
    except (OSError, ValueError) as error:
        if connection.transport.connected:
            raise
        raise lost(name, f"no connection: {_reason(error.__cause__ or error)}") from error
    if connection.dialect not in offered:
        raise UnsupportedFeature(without)


def _reason(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _log_on(connection: Connection, name: str, credentials: Credentials) -> Session:
    username, password = credentials.account, credentials.password
    session = Session(
        connection,
        _GUEST if credentials.guest else username or _ticket(credentials),
        password or _ticket(credentials),
        require_encryption=False,
        auth_protocol=_protocol(credentials),
    )
    try:
        session.connect()
    except ImportError as error:
        raise ModuleNotFoundError("Kerberos needs this package's extra, vhdx[kerberos]", name=error.name) from error
    except SMBAuthenticationError as error:
        raise PermissionError(errno.EACCES, _refused(error, credentials), name) from error
    except (SMBResponseException, SMBConnectionClosed, OSError) as error:
        raise failure(error, name) from error
    except _kerberos_errors() as error:
        # Beneath smbprotocol, where a ticket is fetched with a password.
        raise PermissionError(errno.EACCES, _refused(error, credentials), name) from error
    except SMBException as error:
        raise PermissionError(errno.EACCES, _UNSAFE_FOR_GUEST if credentials.guest else _UNSAFE, name) from error
    finally:
        session.password = None
    return session


def _ticket(credentials: Credentials) -> str | None:
    """What stands for a name or a password that is not given: for Kerberos, the ticket that is there."""
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
    """Why a log-on failed before the server had a say; in Kerberos's words where no password is at play."""
    if not credentials.kerberos or credentials.password:
        return "the account cannot be used to log on"
    cause: Any = error
    while cause is not None and not hasattr(cause, "get_all_statuses"):
        cause = cause.__cause__
    return f"no Kerberos ticket that can be used to log on: {error if cause is None else _words(cause)}"


def _words(error: Any) -> str:
    """What Kerberos says of an error, or where it calls that a success, as of a context that expired, GSSAPI."""
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
        numbers=(connection.sequence_window["low"], connection.sequence_window["high"]),
        read_size=connection.max_read_size if large else 1 << 16,
        write_size=connection.max_write_size if large else 1 << 16,
        negotiation=_negotiation(connection, is_guest=session.signing_key is None),
        charges=large,
    )


def _keys(connection: Any, session: Any, credentials: Credentials) -> Keys:
    if session.signing_key is None:
        # What asked for an account must not end as a guest's session, whatever the server says.
        if not credentials.guest:
            raise PermissionError(errno.EACCES, _UNSAFE, connection.server_name)
        return Keys(session.session_id, None, None, b"", b"", b"")
    return Keys(
        session=session.session_id,
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
        raise ValueError("the server chose a signature that was not offered")
    return Signing(agreed)


def _cipher(connection: Any) -> Cipher:
    return Cipher(connection.cipher_id if connection.dialect >= Dialect.SMB_3_1_1 else Ciphers.AES_128_CCM)


def _negotiation(connection: Any, *, is_guest: bool) -> Negotiation:
    dialects = connection.negotiated_dialects
    # Who offers nothing newer than SMB 2.0.2 has no id.
    client = connection.client_guid.bytes if connection.client_guid else bytes(16)
    claim = b"".join(
        [
            int(connection.client_capabilities).to_bytes(4, "little"),
            client,
            int(connection.client_security_mode).to_bytes(2, "little"),
            len(dialects).to_bytes(2, "little"),
            *(int(dialect).to_bytes(2, "little") for dialect in dialects),
        ]
    )
    confirmation = b"".join(
        [
            int(connection.server_capabilities.get_value()).to_bytes(4, "little"),
            connection.server_guid.bytes,
            int(connection.server_security_mode).to_bytes(2, "little"),
            int(connection.dialect).to_bytes(2, "little"),
        ]
    )
    # SMB 3.1.1 derives the keys from every byte that was said, which confirms them all. For a guest nothing is signed,
    # so nothing can be confirmed.
    needs_confirmation = connection.dialect < Dialect.SMB_3_1_1 and not is_guest
    return Negotiation(claim, confirmation, needs_confirmation)


def _keep_quiet() -> None:
    """At DEBUG the library logs tokens; and its thread logs as an error, with a traceback, what is raised here."""
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
