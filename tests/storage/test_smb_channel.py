"""A session's conversation with a server that we play ourselves, for what no real one says."""

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.relay import Frame, Relay
from tests.support.smbd import Smbd
from vhdx.errors import Error
from vhdx.storage.base import Buffer
from vhdx.storage.smb import Credentials, SmbPool, SmbSettings, messages
from vhdx.storage.smb.channel import Channel, Request
from vhdx.storage.smb.handshake import Established, Negotiation
from vhdx.storage.smb.messages import Message
from vhdx.storage.smb.protection import Cipher, Forged, Keys, Protection, Signing
from vhdx.storage.smb.pulse import SLICES, Pulse, Verdict
from vhdx.storage.smb.status import Refused, failures

KEY = bytes(range(16))
SESSION = 77
FILE = bytes(16)


def keys(signing: Signing = Signing.AES_GMAC, cipher: Cipher = Cipher.AES_128_GCM) -> Keys:
    length = 32 if cipher in (Cipher.AES_256_CCM, Cipher.AES_256_GCM) else 16
    return Keys(SESSION, signing, cipher, KEY, bytes(range(length)), bytes(range(length)))


class Server:
    """The other end of a channel; it has the keys and no manners."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def take(self) -> bytes:
        """The next request."""
        length = int.from_bytes(self._exactly(4), "big")
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            assert part
            data += part
        return data

    def answer(self, request: bytes, body: bytes, *, status: int = 0, credits: int = 1, flags: int = 0x9) -> bytes:
        """An answer to *request*, signed."""
        header = bytearray(request[:64])
        struct.pack_into("<IHHI", header, 8, status, request[12], credits, flags)
        header[48:64] = bytes(16)
        nonce = request[24:32] + struct.pack("<I", 1)
        header[48:64] = AESGCM(KEY).encrypt(nonce, b"", bytes(header) + body)
        return bytes(header) + body

    def send(self, frame: bytes) -> None:
        self._socket.sendall(len(frame).to_bytes(4, "big") + frame)


class Pair:
    """A channel and who answers it, one request at a time."""

    def __init__(self, channel: Channel, server: Server) -> None:
        self.channel = channel
        self.server = server
        self._request: Request | None = None

    def ask(self, message: Message = messages.ECHO) -> bytes:
        """Send a request; what the server gets."""
        self._request = self.channel.post(message)
        return self.server.take()

    def receive(self) -> messages.Response:
        """Its answer."""
        assert self._request is not None
        return self.channel.receive(self._request)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A channel with 64 credits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    established = Established(ours, keys(), False, (5, 69), 1 << 20, 1 << 20, Negotiation(b"", b"", False))
    channel = Channel("smb://server", established, timeout=30)
    with theirs:
        yield Pair(channel, Server(theirs))
        channel.close()


BODY = struct.pack("<HH", 4, 0)


def test_a_signed_answer(pair: Pair) -> None:
    request = pair.ask()
    pair.server.send(pair.server.answer(request, BODY))
    assert bytes(pair.receive().body) == BODY


def test_a_signed_refusal(pair: Pair) -> None:
    request = pair.ask()
    pair.server.send(pair.server.answer(request, bytes(9), status=0xC0000022))
    with pytest.raises(Refused):
        pair.receive()
    assert pair.channel.alive


@pytest.mark.parametrize("status", [0xC000035C, 0xC0000203])
def test_a_signed_end_of_the_session(pair: Pair, status: int) -> None:
    request = pair.ask()
    pair.server.send(pair.server.answer(request, bytes(9), status=status))
    with pytest.raises(ConnectionError, match="session"):
        pair.receive()
    assert not pair.channel.alive


def test_an_answer_that_takes_its_time(pair: Pair) -> None:
    request = pair.ask()
    pending = bytearray(pair.server.answer(request, bytes(9), status=0x103, credits=3, flags=0x3))
    pending[48:64] = bytes(16)
    pair.server.send(bytes(pending))
    pair.server.send(pair.server.answer(request, BODY, credits=0, flags=0xB))
    assert bytes(pair.receive().body) == BODY
    assert pair.channel.credits == 66


def test_what_a_server_says_by_itself_is_ignored(pair: Pair) -> None:
    request = pair.ask()
    said = bytearray(pair.server.answer(request, bytes(24), flags=0x1))
    said[24:32] = b"\xff" * 8
    pair.server.send(bytes(said))
    pair.server.send(pair.server.answer(request, BODY))
    assert bytes(pair.receive().body) == BODY


def test_two_answers_in_one_frame(pair: Pair) -> None:
    first, one = pair.channel.post(messages.ECHO), pair.server.take()
    second, two = pair.channel.post(messages.ECHO), pair.server.take()
    assert first is not None
    assert second is not None
    linked = bytearray(two)
    linked[20:24] = struct.pack("<I", 72)
    body = BODY.ljust(8, b"\0")
    pair.server.send(pair.server.answer(bytes(linked), body) + pair.server.answer(one, BODY))
    assert bytes(pair.channel.receive(first).body) == BODY
    assert bytes(pair.channel.receive(second).body) == body


def test_a_server_that_gives_no_more_credits(pair: Pair) -> None:
    """Nobody waits for what cannot come, and the connection is not used again."""
    for _ in range(63):
        request = pair.ask()
        pair.server.send(pair.server.answer(request, BODY, credits=0))
        pair.receive()
    with pytest.raises(ConnectionError, match="credits"):
        pair.channel.post(messages.ECHO)
    with pytest.raises(ConnectionError):
        while True:
            pair.channel.post(messages.ECHO, wait=False)


def test_who_waits_for_credits_wakes_when_the_connection_ends(pair: Pair) -> None:
    room = memoryview(bytearray(1 << 20))
    for _ in range(3):
        pair.channel.post(messages.read(FILE, 0, room))
    assert pair.channel.post(messages.read(FILE, 0, room), wait=False) is None
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            pair.channel.post(messages.read(FILE, 0, room))
        except ConnectionError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    pair.channel.abandon()
    for thread in threads:
        thread.join(20)
    assert len(errors) == len(threads)


ODD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda body: b"",
    "short": lambda body: body[:7],
    "offset before itself": lambda body: body[:2] + b"\x01" + body[3:],
    "offset behind itself": lambda body: body[:2] + b"\xff" + body[3:],
    "too long": lambda body: body + bytes(100),
    "length of everything": lambda body: body[:4] + b"\xff\xff\xff\xff" + body[8:],
}


@pytest.mark.parametrize("odd", ODD)
def test_reads_that_a_signed_server_answers_oddly(pair: Pair, odd: str) -> None:
    room = bytearray(10)
    request = pair.ask(messages.read(FILE, 0, memoryview(room)))
    pair.server.send(pair.server.answer(request, ODD[odd](struct.pack("<HBBIII", 17, 80, 0, 10, 0, 0) + b"0123456789")))
    try:
        assert pair.receive().placed <= 10
    except ConnectionError:
        assert not pair.channel.alive


PARSERS: list[Callable[[messages.Response], object]] = [
    messages.tree_connect_response,
    messages.create_response,
    messages.write_response,
    messages.ioctl_response,
    messages.query_response,
]


@pytest.mark.parametrize("seed", range(50))
def test_bodies_of_random_bytes(seed: int) -> None:
    choice = random.Random(seed)
    body = memoryview(choice.randbytes(choice.choice([0, 3, 8, 16, 60, 200])))
    for parse in PARSERS:
        try:
            with failures("file"):
                parse(messages.Response(1, body))
        except ConnectionError as error:
            assert "malformed" in str(error)


# --- signatures and encryption ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cipher", Cipher)
def test_what_is_encrypted_comes_back(cipher: Cipher) -> None:
    both = Protection(keys(cipher=cipher))
    message: list[Buffer] = [b"header", bytearray(b"body"), memoryview(b"payload" * 1000)]
    frames = [bytearray(b"".join(both.encrypt(message))) for _ in range(3)]
    assert len({bytes(frame) for frame in frames}) == 3
    for frame in frames:
        assert b"payload" not in frame
        assert both.decrypt(memoryview(frame)) == b"".join(message)
        for place in (0, 4, 20, 36, 42, 44, 52, len(frame) - 1):
            changed = bytearray(frame)
            changed[place] ^= 1
            with pytest.raises(Forged):
                both.decrypt(memoryview(changed))


@pytest.mark.parametrize("signing", Signing)
def test_no_part_of_a_message_can_be_changed_under_its_signature(signing: Signing) -> None:
    protection = Protection(keys(signing))
    parts: list[Buffer] = [bytearray(64), b"body", memoryview(b"payload")]
    signature = protection.signature(9, parts)
    assert signature == protection.signature(9, [b"".join(parts)])
    others: list[list[Buffer]] = [
        [bytes(64), b"bodY", b"payload"],
        [bytes(64), b"body", b"payloaD"],
        [bytes(63) + b"\1", b"body", b"payload"],
        [bytes(64), b"body"],
    ]
    for other in others:
        assert protection.signature(9, other) != signature
        with pytest.raises(Forged):
            protection.check(9, signature, other)


# --- signs of life ---------------------------------------------------------------------------------------------------


def judged(pulse: Pulse, slices: int, progress: Callable[[int], int] = lambda number: 0) -> list[Verdict]:
    return [pulse.missed(progress(number)) for number in range(slices)]


def test_a_silence_is_first_asked_about_and_then_final() -> None:
    pulse = Pulse()
    assert judged(pulse, SLICES // 2 + 1)[-2:] == [Verdict.WAIT, Verdict.ASK]
    pulse.asked()
    assert judged(pulse, SLICES // 2)[-2:] == [Verdict.WAIT, Verdict.DEAD]


def test_any_answer_takes_a_question_back() -> None:
    pulse = Pulse()
    judged(pulse, SLICES // 2 + 1)
    pulse.asked()
    judged(pulse, SLICES // 2 - 1)
    pulse.heard()
    assert judged(pulse, SLICES // 2)[-2:] == [Verdict.WAIT, Verdict.ASK]


def test_who_cannot_be_asked_is_dead_in_the_end() -> None:
    assert judged(Pulse(), SLICES + 1)[-2:] == [Verdict.ASK, Verdict.DEAD]


def test_a_line_on_which_bytes_still_move_is_waited_for() -> None:
    assert set(judged(Pulse(), 100, lambda number: number // 3)) == {Verdict.WAIT}


# --- a log-on with a server that makes no sense ----------------------------------------------------------------------


@pytest.mark.smb
@pytest.mark.parametrize("seed", range(100))
def test_a_log_on_that_is_garbled(smbd: Smbd, seed: int) -> None:
    """Whatever comes, the failure is one of ours, or there is none."""
    choice = random.Random(seed)

    def garble(frame: Frame) -> bytes:
        if frame.from_client or not (data := bytearray(frame.data)):
            return frame.data
        for _ in range(choice.choice([0, 1, 1, 2, 20])):
            data[choice.randrange(len(data))] = choice.choice([0, 1, 255, choice.randrange(256)])
        return bytes(data[: choice.choice([len(data)] * 4 + [choice.randrange(64, len(data) + 1)])])

    before = threading.active_count()
    with Relay(smbd.port) as relay, SmbPool() as pool:
        relay.rule = garble
        account = Credentials(smbd.user, smbd.password)
        settings = SmbSettings(timeout=1, connect_timeout=0.3)
        with pytest.raises((OSError, Error)):
            pool.share("127.0.0.1", "missing", port=relay.port, credentials=account, settings=settings)
    assert threading.active_count() == before


@pytest.mark.smb
def test_a_guest_is_not_let_in(own_smbd: Smbd) -> None:
    own_smbd.configure("map to guest = bad user\nguest account = nobody")
    account = Credentials("no-such-user", "secret")
    with SmbPool() as pool, pytest.raises(PermissionError, match="no-such-user"):
        pool.share("127.0.0.1", "missing", port=own_smbd.port, credentials=account)
