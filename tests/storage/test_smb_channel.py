"""A session's conversation with a server that we play ourselves, for what no real one says."""

import logging
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.relay import Frame, Relay
from tests.support.smbd import Smbd
from vhdx.errors import Error
from vhdx.storage.base import Buffer
from vhdx.storage.smb import Credentials, SmbPool, SmbSettings, messages
from vhdx.storage.smb.channel import Channel, Request
from vhdx.storage.smb.deadlines import Clock, transfer_seconds
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

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

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


@contextmanager
def paired(settings: SmbSettings, credits: int = 64) -> Iterator[Pair]:
    """A channel that starts with *credits*."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    numbers = 5, 5 + credits
    sizes = 1 << 20, 1 << 20, 1 << 16
    established = Established(ours, keys(), False, numbers, *sizes, Negotiation(b"", b"", False))
    channel = Channel("smb://server", established, settings)
    with theirs:
        try:
            yield Pair(channel, Server(theirs))
        finally:
            channel.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with paired(SmbSettings(timeout=30)) as pair:
        yield pair


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
    for _ in range(64):
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


# --- deadlines -------------------------------------------------------------------------------------------------------

HASTY = SmbSettings(timeout=0.4, request_timeout=0.8, long_timeout=1.6)
BOUND = 20
"""Seconds, far above what is documented."""


@contextmanager
def answering(server: Server, answer: Callable[[bytes], list[bytes]]) -> Iterator[None]:
    """Have the server answer echoes, and everything else by *answer*, until the channel ends."""

    def serve() -> None:
        with suppress(AssertionError, OSError):
            while True:
                request = server.take()
                is_echo = request[12] == messages.ECHO.command
                for frame in [server.answer(request, BODY)] if is_echo else answer(request):
                    server.send(frame)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join(BOUND)
        assert not thread.is_alive()


def outcome(pair: Pair, message: Message) -> BaseException | None:
    """What a request ends with."""
    found: list[BaseException | None] = []

    def ask() -> None:
        request = pair.channel.post(message)
        assert request is not None
        try:
            pair.channel.receive(request)
        except ConnectionError as error:
            found.append(error)
        else:
            found.append(None)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(BOUND)
    assert not thread.is_alive()
    return found[0]


def unsigned(server: Server, request: bytes, flags: int, status: int = 0x103) -> bytes:
    frame = bytearray(server.answer(request, bytes(9), status=status, flags=flags))
    frame[48:64] = bytes(16)
    return bytes(frame)


READ = messages.read(FILE, 0, memoryview(bytearray(10)))
FLUSH = messages.flush(FILE)


@pytest.mark.parametrize(("message", "name"), [(READ, "READ"), (FLUSH, "FLUSH")], ids=["read", "flush"])
def test_an_answer_that_is_withheld_has_a_deadline_though_the_server_lives(message: Message, name: str) -> None:
    with paired(HASTY) as pair, answering(pair.server, lambda request: []):
        error = outcome(pair, message)
        assert isinstance(error, ConnectionError)
        assert f"no response to {name} within" in str(error)
        pair.channel.close()


def test_what_takes_long_is_waited_for_longer() -> None:
    """And so is what has much in flight in front of it."""
    room = memoryview(bytearray(1 << 20))
    with paired(HASTY) as pair:
        posted = [pair.channel.post(message) for message in (READ, FLUSH, messages.read(FILE, 0, room), FLUSH)]
        beyond = [0.0, HASTY.long_timeout - HASTY.request_timeout, transfer_seconds(len(room))]
        patience = [request.patience for request in posted if request is not None]
        assert patience[0] == pytest.approx(HASTY.request_timeout, abs=0.01)
        assert [later - patience[0] for later in patience[:3]] == pytest.approx(beyond, abs=0.01)
        assert patience[3] == pytest.approx(HASTY.long_timeout + transfer_seconds(len(room)), abs=0.01)


def test_what_is_waited_for_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "vhdx.storage.smb")
    with paired(HASTY) as pair, answering(pair.server, lambda request: []):
        outcome(pair, FLUSH)
        pair.channel.close()
    assert "smb://server: waiting for the response to FLUSH: 0." in caplog.text
    assert "of at most 1.6 seconds" in caplog.text


INTERIM: dict[str, Callable[[Server, bytes], list[bytes]]] = {
    "signed": lambda server, request: [server.answer(request, bytes(9), status=0x103, flags=0xB)],
    "unsigned": lambda server, request: [unsigned(server, request, 0x3)],
    "again": lambda server, request: [unsigned(server, request, 0x3)] * 50,
    "of a wrong signature": lambda server, request: [unsigned(server, request, 0xB)],
}


@pytest.mark.parametrize("interim", INTERIM)
def test_a_server_that_takes_its_time_has_no_more_of_it(interim: str) -> None:
    with paired(HASTY) as pair, answering(pair.server, lambda request: INTERIM[interim](pair.server, request)):
        assert "no response to FLUSH within" in str(outcome(pair, FLUSH))
        pair.channel.close()


@pytest.mark.parametrize("interim", INTERIM)
def test_an_answer_may_come_after_the_server_took_its_time(pair: Pair, interim: str) -> None:
    request = pair.ask(FLUSH)
    for frame in INTERIM[interim](pair.server, request):
        pair.server.send(frame)
    pair.server.send(pair.server.answer(request, BODY, flags=0xB))
    assert bytes(pair.receive().body) == BODY


def test_an_interim_response_is_asynchronous(pair: Pair) -> None:
    request = pair.ask(FLUSH)
    pair.server.send(unsigned(pair.server, request, 0x1))
    with pytest.raises(ConnectionError, match="interim"):
        pair.receive()


def test_an_interim_response_is_encrypted_where_the_request_was(pair: Pair) -> None:
    request = pair.channel.post(FLUSH, encrypted=True)
    assert request is not None
    pair.server.take()
    number = struct.pack("<Q", 5)
    pretended = bytearray(64)
    pretended[:4], pretended[12], pretended[24:32] = b"\xfeSMB", FLUSH.command, number
    pair.server.send(unsigned(pair.server, bytes(pretended), 0x3))
    with pytest.raises(ConnectionError, match="interim"):
        pair.channel.receive(request)


@pytest.mark.parametrize(
    ("message", "length"),
    [
        (FLUSH, (64 << 10) + 1),
        (READ, (64 << 10) + 11),
        (messages.read(FILE, 0, memoryview(bytearray(1 << 20))), (1 << 20) + (64 << 10) + 1),
        (FLUSH, 0xFFFFFF),
        (FLUSH, 0xFFFFFFFF),
    ],
)
def test_a_message_longer_than_what_was_asked_for_is_refused(pair: Pair, message: Message, length: int) -> None:
    """At its length already: nothing of it comes."""
    pair.ask(message)
    pair.server.send_raw(length.to_bytes(4, "big"))
    with pytest.raises(ConnectionError, match=f"announces {length} bytes"):
        pair.receive()


def test_unsigned_messages_are_no_sign_of_life() -> None:
    """A stream of what anybody may send keeps nobody waiting, whoever sends it."""
    with paired(HASTY) as pair:
        request = pair.ask(FLUSH)
        said = bytearray(unsigned(pair.server, request, 0x1, status=0))
        said[24:32] = b"\xff" * 8
        ended = threading.Event()

        def flood() -> None:
            with suppress(OSError):
                while not ended.is_set():
                    pair.server.send(bytes(said))

        thread = threading.Thread(target=flood)
        thread.start()
        with pytest.raises(ConnectionError, match="does not respond"):
            pair.receive()
        pair.channel.close()
        ended.set()
        thread.join(BOUND)


def test_one_credit_is_enough_for_one_request_at_a_time() -> None:
    with paired(SmbSettings(timeout=30), credits=1) as pair, answering(
        pair.server, lambda request: [pair.server.answer(request, BODY)]
    ):
        assert [outcome(pair, FLUSH) for _ in range(20)] == [None] * 20
        pair.channel.close()


def test_a_server_that_cannot_be_asked_for_want_of_credits_has_until_the_deadline() -> None:
    """It granted one credit, which the request took; it is busy for longer than a silence may be."""
    late = SmbSettings(timeout=0.2, request_timeout=60, long_timeout=60)
    with paired(late, credits=1) as pair:
        request = pair.ask(FLUSH)
        time.sleep(5 * late.timeout)
        pair.server.send(pair.server.answer(request, BODY))
        assert bytes(pair.receive().body) == BODY


def test_who_waits_for_credits_is_served_in_turn() -> None:
    """A request that costs much is not put off for ever by cheap ones that come later."""
    big = messages.read(FILE, 0, memoryview(bytearray(1 << 20)))
    with paired(SmbSettings(timeout=30), credits=16) as pair:
        first = pair.ask(FLUSH)
        threads = []
        for message in (big, FLUSH):
            waiting = len(pair.channel._queue)
            threads.append(threading.Thread(target=pair.channel.post, args=(message,)))
            threads[-1].start()
            while len(pair.channel._queue) == waiting:
                time.sleep(0.001)
        assert pair.channel.post(FLUSH, wait=False) is None
        pair.server.send(pair.server.answer(first, BODY, credits=20))
        for thread in threads:
            thread.join(BOUND)
        assert [request[12] for request in (pair.server.take(), pair.server.take())] == [8, 7]


def test_a_process_that_stood_still_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(1)
    for passed in (0.1, 0.9, 3600, 1.0):
        now[0] += passed
        clock.advance()
    assert clock.now == 1.0 + 2.0 + 1.0


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


FLOOR = 100


def judged(pulse: Pulse, slices: int, moved: Callable[[int], int] = lambda number: 0) -> list[Verdict]:
    return [pulse.missed(moved(number)) for number in range(slices)]


def test_a_silence_is_first_asked_about_and_then_final() -> None:
    pulse = Pulse(FLOOR)
    assert judged(pulse, SLICES // 2)[-2:] == [Verdict.WAIT, Verdict.ASK]
    pulse.asked()
    assert judged(pulse, SLICES // 2)[-2:] == [Verdict.WAIT, Verdict.DEAD]


def test_any_answer_takes_a_question_back() -> None:
    pulse = Pulse(FLOOR)
    judged(pulse, SLICES // 2)
    pulse.asked()
    judged(pulse, SLICES // 2 - 1)
    pulse.heard()
    assert judged(pulse, SLICES // 2)[-2:] == [Verdict.WAIT, Verdict.ASK]


def test_who_cannot_be_asked_is_mute_in_the_end() -> None:
    assert judged(Pulse(FLOOR), SLICES)[-2:] == [Verdict.ASK, Verdict.MUTE]


def test_a_line_on_which_bytes_still_move_is_waited_for() -> None:
    assert set(judged(Pulse(FLOOR), 100, lambda number: number // 3 * FLOOR)) == {Verdict.WAIT}


def test_a_line_on_which_hardly_a_byte_moves_is_not() -> None:
    pulse = Pulse(FLOOR)
    assert Verdict.ASK in judged(pulse, SLICES, lambda number: number * (FLOOR - 1))


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
