"""Signing and encryption of one session's messages (MS-SMB2 3.1.4.1, 3.1.4.3).

The keys are derived during session setup. A message that fails verification was not sent by the authenticated server.
"""

import hashlib
import hmac
import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as Encryption
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.cmac import CMAC

from vhdx.storage.base import Buffer

SIGNATURE_LENGTH = 16
TRANSFORM = struct.Struct("<4s16s16sIHHQ")
"""TRANSFORM_HEADER (MS-SMB2 2.2.41): ProtocolId, Signature, Nonce, OriginalMessageSize, Reserved, Flags, SessionId."""

ENCRYPTED = b"\xfdSMB"
_IS_ENCRYPTED = 1
_AUTHENTICATED_FROM = 20  # the Signature covers the transform header from the Nonce on
_SERVER = 1
_SLACK = 16  # `update_into` requires this much more than it writes


class Signing(IntEnum):
    """Signing algorithms (MS-SMB2 2.2.3.1.7): of SMB 2, of SMB 3.0, and one that SMB 3.1.1 can negotiate."""

    HMAC_SHA256 = 0
    AES_CMAC = 1
    AES_GMAC = 2


class Cipher(IntEnum):
    """Ciphers (MS-SMB2 2.2.3.1.2); dialects before 3.1.1 support only the first."""

    AES_128_CCM = 1
    AES_128_GCM = 2
    AES_256_CCM = 3
    AES_256_GCM = 4


@dataclass(frozen=True, slots=True)
class Keys:
    """The algorithms and keys of a session. A guest session has no keys, so its *signing* is None."""

    session_id: int
    signing: Signing | None
    cipher: Cipher | None
    signing_key: bytes = field(repr=False)
    encryption_key: bytes = field(repr=False)
    decryption_key: bytes = field(repr=False)


class Room:
    """A reusable buffer: allocating fresh memory costs more than encryption."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray())

    def take(self, length: int) -> memoryview:
        """A view of *length* bytes; invalidates the view returned before."""
        if len(self._buffer) < length:
            self._buffer = memoryview(bytearray(length))
        return self._buffer[:length]


class Forged(Exception):
    """A message failed signature verification or decryption."""


class Protection:
    """Signs, verifies, encrypts and decrypts; one thread may send while another receives."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._streams = keys.cipher in (Cipher.AES_128_GCM, Cipher.AES_256_GCM)
        self._nonce_length = 12 if self._streams else 11
        self._outgoing, self._incoming = Room(), Room()
        # Nonces must be unique per key; each session has its own key for each direction.
        self._nonces = itertools.count()

    @property
    def encrypts(self) -> bool:
        """Whether the server can encrypt."""
        return self._keys.cipher is not None

    @property
    def signs(self) -> bool:
        """Whether messages that are not encrypted are signed: always, except in a guest session."""
        return self._keys.signing is not None

    def signature(self, message_id: int, parts: Sequence[Buffer]) -> bytes:
        """The signature of the request *message_id*; the Signature field in *parts* must be zero."""
        return self._sign(message_id, 0, parts)

    def check(self, message_id: int, signature: Buffer, parts: Sequence[Buffer]) -> None:
        """Verify the response *message_id*; the Signature field in *parts* must be zero. Raises Forged."""
        if not hmac.compare_digest(self._sign(message_id, _SERVER, parts), bytes(signature)):
            raise Forged("the signature of a response is invalid")

    def _sign(self, message_id: int, sender: int, parts: Sequence[Buffer]) -> bytes:
        key = self._keys.signing_key
        if self._keys.signing is Signing.HMAC_SHA256:
            digest = hmac.new(key, digestmod=hashlib.sha256)
            for part in parts:
                digest.update(part)
            return digest.digest()[:SIGNATURE_LENGTH]
        if self._keys.signing is Signing.AES_CMAC:
            code = CMAC(algorithms.AES(key))
            for part in parts:
                code.update(part)  # type: ignore[arg-type]  # it takes any buffer
            return code.finalize()
        # An empty key, as in a guest session, raises ValueError here, so nothing is accepted by mistake.
        encryptor = Encryption(algorithms.AES(key), modes.GCM(struct.pack("<QI", message_id, sender))).encryptor()
        for part in parts:
            encryptor.authenticate_additional_data(part)
        encryptor.finalize()
        return encryptor.tag

    def encrypt(self, parts: Sequence[Buffer]) -> list[Buffer]:
        """Encrypt the message made of *parts*. One thread at a time; the result is valid until the next call."""
        length = sum(map(len, parts))
        nonce = next(self._nonces).to_bytes(self._nonce_length, "little")
        header = TRANSFORM.pack(ENCRYPTED, b"", nonce, length, 0, _IS_ENCRYPTED, self._keys.session_id)
        known = header[_AUTHENTICATED_FROM:]
        if not self._streams:
            sealed = memoryview(AESCCM(self._keys.encryption_key).encrypt(nonce, b"".join(parts), known))
            return [ENCRYPTED, sealed[-SIGNATURE_LENGTH:], known, sealed[:-SIGNATURE_LENGTH]]
        encryptor = Encryption(algorithms.AES(self._keys.encryption_key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(known)
        room, place = self._outgoing.take(length + _SLACK), 0
        for part in parts:
            place += encryptor.update_into(part, room[place:])
        encryptor.finalize()
        return [ENCRYPTED, encryptor.tag, known, room[:length]]

    def decrypt(self, frame: memoryview) -> memoryview:
        """Decrypt a frame. One thread only; the result is valid until the next call. Raises Forged, struct.error."""
        protocol, signature, nonce, length, _, flags, session_id = TRANSFORM.unpack_from(frame)
        if not self.encrypts or protocol != ENCRYPTED or flags != _IS_ENCRYPTED or session_id != self._keys.session_id:
            raise Forged("a response is encrypted for another session")
        known, sealed = frame[_AUTHENTICATED_FROM : TRANSFORM.size], frame[TRANSFORM.size :]
        if len(sealed) != length:
            raise Forged("the length of an encrypted response does not match its OriginalMessageSize")
        try:
            return self._opened(nonce[: self._nonce_length], signature, known, sealed)
        except InvalidTag as error:
            raise Forged("an encrypted response failed authentication") from error

    def _opened(self, nonce: bytes, signature: bytes, known: memoryview, sealed: memoryview) -> memoryview:
        if not self._streams:
            return memoryview(AESCCM(self._keys.decryption_key).decrypt(nonce, b"".join((sealed, signature)), known))
        key = algorithms.AES(self._keys.decryption_key)
        decryptor = Encryption(key, modes.GCM(nonce, signature)).decryptor()
        decryptor.authenticate_additional_data(known)
        room = self._incoming.take(len(sealed) + _SLACK)
        decryptor.update_into(sealed, room)
        decryptor.finalize()
        return room[: len(sealed)]
