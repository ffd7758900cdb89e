"""How one session's messages are signed and encrypted (MS-SMB2 3.1.4.1, 3.1.4.3).

The keys come from the log-on. A message that does not pass here was not made by the server that knows the account.
"""

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hmac import compare_digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as Encryption
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

from vhdx.storage.base import Buffer

SIGNATURE_LENGTH = 16
TRANSFORM = struct.Struct("<4s16s16sIHHQ")
"""Protocol, signature, nonce, length of the message, reserved, flags, session."""

ENCRYPTED = b"\xfdSMB"
_IS_ENCRYPTED = 1
_AUTHENTICATED_FROM = 20  # the part of the transform header that the signature in it covers
_SERVER = 1


class Signing(IntEnum):
    """Algorithms for signatures; older servers know only the first."""

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
    """What a log-on agreed on."""

    session: int
    signing: Signing
    cipher: Cipher | None
    signing_key: bytes = field(repr=False)
    encryption_key: bytes = field(repr=False)
    decryption_key: bytes = field(repr=False)


class Forged(Exception):
    """A message is not what its signature says."""


class Protection:
    """Signs, encrypts, checks and decrypts. Safe to use from several threads."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._signing = algorithms.AES(keys.signing_key)
        counter_mode = keys.cipher in (Cipher.AES_128_GCM, Cipher.AES_256_GCM)
        algorithm = AESGCM if counter_mode else AESCCM
        self._nonce_length = 12 if counter_mode else 11
        self._encryptor = algorithm(keys.encryption_key) if keys.cipher else None
        self._decryptor = algorithm(keys.decryption_key) if keys.cipher else None
        # Unique for the key, which is this session's and this direction's own.
        self._nonces = itertools.count()

    @property
    def encrypts(self) -> bool:
        """Whether the server can encrypt."""
        return self._encryptor is not None

    def signature(self, number: int, parts: Sequence[Buffer]) -> bytes:
        """The signature of our message *number*, whose header holds zeros in its place."""
        return self._sign(number, 0, parts)

    def check(self, number: int, signature: Buffer, parts: Sequence[Buffer]) -> None:
        """Check the server's message *number*, with zeros where *signature* was. Raises Forged."""
        if not compare_digest(self._sign(number, _SERVER, parts), bytes(signature)):
            raise Forged("an answer of the server is signed wrongly")

    def _sign(self, number: int, sender: int, parts: Sequence[Buffer]) -> bytes:
        if self._keys.signing is Signing.AES_CMAC:
            code = CMAC(self._signing)
            for part in parts:
                code.update(part)  # type: ignore[arg-type]  # it takes any buffer
            return code.finalize()
        encryptor = Encryption(self._signing, modes.GCM(struct.pack("<QI", number, sender))).encryptor()
        for part in parts:
            encryptor.authenticate_additional_data(part)
        encryptor.finalize()
        return encryptor.tag

    def encrypt(self, parts: Sequence[Buffer]) -> list[Buffer]:
        """The message made of *parts*, encrypted."""
        assert self._encryptor is not None
        message = b"".join(parts)
        nonce = next(self._nonces).to_bytes(self._nonce_length, "little")
        header = TRANSFORM.pack(ENCRYPTED, b"", nonce, len(message), 0, _IS_ENCRYPTED, self._keys.session)
        sealed = memoryview(self._encryptor.encrypt(nonce, message, header[_AUTHENTICATED_FROM:]))
        return [ENCRYPTED, sealed[-SIGNATURE_LENGTH:], header[_AUTHENTICATED_FROM:], sealed[:-SIGNATURE_LENGTH]]

    def decrypt(self, frame: Buffer) -> memoryview:
        """The message inside an encrypted frame. Raises Forged, struct.error."""
        protocol, signature, nonce, length, _, flags, session = TRANSFORM.unpack_from(frame)
        if self._decryptor is None or protocol != ENCRYPTED or flags != _IS_ENCRYPTED or session != self._keys.session:
            raise Forged("an answer of the server is encrypted for somebody else")
        view = memoryview(frame)
        sealed = b"".join((view[TRANSFORM.size :], signature))
        try:
            message = self._decryptor.decrypt(
                nonce[: self._nonce_length], sealed, view[_AUTHENTICATED_FROM : TRANSFORM.size]
            )
        except InvalidTag as error:
            raise Forged("an answer of the server is encrypted wrongly") from error
        if len(message) != length:
            raise Forged("an answer of the server is shorter than it says")
        return memoryview(message)
