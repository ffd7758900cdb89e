"""From nothing to a session, by smbprotocol: dialect, algorithms, log-on and the keys that follow from it.

What smbprotocol leaves behind is a socket and a few numbers; `channel` goes on with them. All that is touched of
smbprotocol's insides is touched here.
"""

import errno
import logging
import socket
import struct
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

from smbprotocol.connection import Ciphers, Connection, Dialects, SigningAlgorithms
from smbprotocol.exceptions import SMBAuthenticationError, SMBConnectionClosed, SMBException, SMBResponseException
from smbprotocol.session import Session

from vhdx.errors import UnsupportedFeature
from vhdx.storage.credentials import Credentials
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

_SIGNING = [SigningAlgorithms.AES_GMAC, SigningAlgorithms.AES_CMAC]
_CIPHERS = [Ciphers.AES_128_GCM, Ciphers.AES_128_CCM, Ciphers.AES_256_GCM, Ciphers.AES_256_CCM]


@dataclass(frozen=True, slots=True)
class Negotiation:
    """What both sides said before the log-on, to be confirmed under signature by SMB 3.0 and 3.0.2."""

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


class _LogOn(Connection):  # type: ignore[misc]
    """A connection whose thread ends, leaving the socket open, once the log-on is answered or nothing more comes.

    Offering no signature older than SMB 3's leaves older dialects out.
    """

    def __init__(self, server: str, port: int) -> None:
        self.over = threading.Event()  # nothing more will be asked
        self._answered = False
        super().__init__(uuid.uuid4(), server, port, require_signing=True)

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
    SMB 3 or without the encryption that is asked for.
    """
    _keep_quiet()
    connection = _LogOn(server, port)
    connection._receive_timeout = settings.connect_timeout
    try:
        try:
            _negotiate(connection, name, settings)
            who = credentials.account or "the holder of the ticket"
            session = _log_on(connection, f"{name} as {who}", credentials)
        finally:
            connection.over.set()
        if settings.encrypt and not connection.supports_encryption:
            raise UnsupportedFeature(f"{name}: the server cannot encrypt; do without, or have it set up there")
        connection._t_worker.join()
        return _established(connection, session, settings)
    except _MALFORMED as error:
        connection.disconnect(close=False)
        raise lost(name, "the server's answer is malformed") from error
    except BaseException:
        if connection.transport is not None:
            connection.disconnect(close=False)
        raise


def _negotiate(connection: Connection, name: str, settings: SmbSettings) -> None:
    too_old = f"{name}: the server does not speak SMB 3.0 or newer, which is needed"
    try:
        connection.connect(
            timeout=settings.connect_timeout,
            preferred_encryption_algos=_CIPHERS,
            preferred_signing_algos=_SIGNING,
        )
    except SMBResponseException as error:
        if error.status in UNSUPPORTED:
            raise UnsupportedFeature(too_old) from error
        raise failure(error, name) from error
    except SMBException as error:
        raise lost(name, "the server does not answer, or not in SMB 3") from error
    except (OSError, ValueError) as error:
        if connection.transport.connected:
            raise
        raise lost(name, f"no connection: {_reason(error.__cause__ or error)}") from error
    if connection.dialect < Dialects.SMB_3_0_0:
        raise UnsupportedFeature(too_old)


def _reason(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _log_on(connection: Connection, name: str, credentials: Credentials) -> Session:
    # Kerberos without a name and a password takes the ticket that is there.
    session = Session(
        connection,
        credentials.account or (None if credentials.kerberos else ""),
        credentials.password or (None if credentials.kerberos else ""),
        require_encryption=False,
        auth_protocol="kerberos" if credentials.kerberos else "negotiate",
    )
    try:
        session.connect()
    except ImportError as error:
        raise ModuleNotFoundError("Kerberos needs this package's extra, vhdx[kerberos]", name=error.name) from error
    except SMBAuthenticationError as error:
        raise PermissionError(errno.EACCES, "the account cannot be used to log on", name) from error
    except (SMBResponseException, SMBConnectionClosed, OSError) as error:
        raise failure(error, name) from error
    except SMBException as error:
        unsafe = "the log-on gives no protection: only a guest is let in, or somebody tampers with the connection"
        raise PermissionError(errno.EACCES, unsafe, name) from error
    finally:
        session.password = None
    return session


def _established(connection: Any, session: Any, settings: SmbSettings) -> Established:
    newest = connection.dialect >= Dialects.SMB_3_1_1
    signing = connection.signing_algorithm_id if newest else None
    cipher = connection.cipher_id if newest else Ciphers.AES_128_CCM
    large = connection.supports_multi_credit
    return Established(
        socket=connection.transport._sock,
        keys=Keys(
            session=session.session_id,
            signing=Signing.AES_CMAC if signing is None else Signing(signing),
            cipher=Cipher(cipher) if connection.supports_encryption else None,
            signing_key=session.signing_key,
            encryption_key=session.encryption_key,
            decryption_key=session.decryption_key,
        ),
        encrypted=bool(session.encrypt_data or settings.encrypt),
        numbers=(connection.sequence_window["low"], connection.sequence_window["high"]),
        read_size=connection.max_read_size if large else 1 << 16,
        write_size=connection.max_write_size if large else 1 << 16,
        negotiation=_negotiation(connection, newest=newest),
    )


def _negotiation(connection: Any, *, newest: bool) -> Negotiation:
    dialects = connection.negotiated_dialects
    claim = b"".join(
        [
            int(connection.client_capabilities).to_bytes(4, "little"),
            connection.client_guid.bytes,
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
    # SMB 3.1.1 derives the keys from every byte that was said, which confirms them all.
    return Negotiation(claim, confirmation, needs_confirmation=not newest)


def _keep_quiet() -> None:
    """At DEBUG the library logs tokens; and its thread logs as an error, with a traceback, what is raised here."""
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
