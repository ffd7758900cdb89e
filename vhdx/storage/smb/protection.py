"""How one session's messages are signed and encrypted (MS-SMB2 3.1.4.1, 3.1.4.3).

The keys come from the log-on. A message that does not pass here was not made by the server that knows the account.
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
"""Protocol, signature, nonce, length of the message, reserved, flags, session."""

ENCRYPTED = b"\xfdSMB"
_IS_ENCRYPTED = 1
_AUTHENTICATED_FROM = 20  # the part of the transform header that the signature in it covers
_SERVER = 1
_SLACK = 16  # room that the encryption wants beyond what it writes


class Signing(IntEnum):
    """Algorithms for signatures: that of SMB 2, that of SMB 3.0, and one that SMB 3.1.1 may agree on."""

    HMAC_SHA256 = 0
    AES_CMAC = 1
    AES_GMAC = 2


class Cipher(IntEnum):
    """Algorithms for encryption; servers before SMB 3.1.1 know only the first."""

    AES_128_CCM = 1
    AES_128_GCM = 2
    AES_256_CCM = 3
    AES_256_GCM = 4


@dataclass(frozen=True, slots=True)
class Keys:
    """What a log-on agreed on. Only the session of a guest has no *signing*, since it has no keys at all."""

    session: int
    signing: Signing | None
    cipher: Cipher | None
    signing_key: bytes = field(repr=False)
    encryption_key: bytes = field(repr=False)
    decryption_key: bytes = field(repr=False)


class Room:
    """Memory that is used again and again: fresh memory costs more than encryption."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray())

    def take(self, length: int) -> memoryview:
        """*length* bytes, which whoever took them before gives up."""
        if len(self._buffer) < length:
            self._buffer = memoryview(bytearray(length))
        return self._buffer[:length]


class Forged(Exception):
    """A message is not what its signature says."""


class Protection:
    """Signs, encrypts, checks and decrypts; one thread may send while another receives."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._streams = keys.cipher in (Cipher.AES_128_GCM, Cipher.AES_256_GCM)
        self._nonce_length = 12 if self._streams else 11
        self._outgoing, self._incoming = Room(), Room()
        # Unique for the key, which is this session's and this direction's own.
        self._nonces = itertools.count()

    @property
    def encrypts(self) -> bool:
        """Whether the server can encrypt."""
        return self._keys.cipher is not None

    @property
    def signs(self) -> bool:
        """Whether what is not encrypted is signed: always, but for a guest. Fixed with the log-on."""
        return self._keys.signing is not None

    def signature(self, number: int, parts: Sequence[Buffer]) -> bytes:
        """The signature of our message *number*, whose header holds zeros in its place."""
        return self._sign(number, 0, parts)

    def check(self, number: int, signature: Buffer, parts: Sequence[Buffer]) -> None:
        """Check the server's message *number*, with zeros where *signature* was. Raises Forged."""
        if not hmac.compare_digest(self._sign(number, _SERVER, parts), bytes(signature)):
            raise Forged("an answer of the server is signed wrongly")

    def _sign(self, number: int, sender: int, parts: Sequence[Buffer]) -> bytes:
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
        # Without a key, as for a guest, there is no cipher to be made here: nothing passes by mistake.
        encryptor = Encryption(algorithms.AES(key), modes.GCM(struct.pack("<QI", number, sender))).encryptor()
        for part in parts:
            encryptor.authenticate_additional_data(part)
        encryptor.finalize()
        return encryptor.tag

    def encrypt(self, parts: Sequence[Buffer]) -> list[Buffer]:
        """The message made of *parts*, encrypted; to be sent before the next call, and by one thread at a time."""
        length = sum(map(len, parts))
        nonce = next(self._nonces).to_bytes(self._nonce_length, "little")
        header = TRANSFORM.pack(ENCRYPTED, b"", nonce, length, 0, _IS_ENCRYPTED, self._keys.session)
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
        """The message inside an encrypted frame; gone with the next call, which must come from the same thread.

        Raises Forged, struct.error.
        """
        protocol, signature, nonce, length, _, flags, session = TRANSFORM.unpack_from(frame)
        if not self.encrypts or protocol != ENCRYPTED or flags != _IS_ENCRYPTED or session != self._keys.session:
            raise Forged("an answer of the server is encrypted for somebody else")
        known, sealed = frame[_AUTHENTICATED_FROM : TRANSFORM.size], frame[TRANSFORM.size :]
        if len(sealed) != length:
            raise Forged("an answer of the server is not as long as it says")
        try:
            return self._opened(nonce[: self._nonce_length], signature, known, sealed)
        except InvalidTag as error:
            raise Forged("an answer of the server is encrypted wrongly") from error

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
