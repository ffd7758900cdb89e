"""A relay that attacks: a table of what a bad network or a bad server does, each to the message that it is aimed at.

It has no keys, so under encryption it goes by lengths: an echo is told by being the shortest of all requests.
"""

import random
import struct
import time
from collections.abc import Callable
from typing import Self

from tests.support.relay import Flood, Frame, Raw, Relay, Ruling, Verdict

NEGOTIATE, SESSION_SETUP, TREE_CONNECT, ECHO = 0, 1, 3, 13
PENDING, MORE_PROCESSING_REQUIRED = 0x103, 0xC0000016
FROM_SERVER, ASYNC, SIGNED = 0x1, 0x2, 0x8
_ENCRYPTED_ECHO = 52 + 64 + 4
_UNASKED = b"\xff" * 8

Target = Callable[["Siege", Frame], bool]
"""Which answers an attack is aimed at."""

Attack = Callable[["Siege", Frame, bool], Ruling]
"""What becomes of a message; the last argument says whether the attack is aimed at it, or at the answer to it."""


class Siege:
    """One attack through a relay: `aim` at what is to come; until then, and after `end`, everything passes."""

    def __init__(self, relay: Relay, attack: Attack) -> None:
        self._relay = relay
        self._attack = attack
        self._target: Target | None = None
        self.command = 0  # of the requests whose answers are attacked
        self._number = 0  # of the last request
        self._echoes = 0  # that were not answered
        self.struck = False  # whether it was aimed at something yet
        self.last_request = b""
        self.earlier: bytes | None = None  # an answer from before
        relay.rule = self._rule

    def aim(self, target: Target, command: int) -> Self:
        """Attack what *target* says, from now on; *command* is what is asked there."""
        self._target, self.command = target, command
        return self

    def end(self) -> None:
        """Let everything pass again."""
        self._relay.rule = lambda frame: Verdict.PASS

    def _rule(self, frame: Frame) -> Ruling:
        is_echo = self._note(frame)
        if self._target is None:
            if not frame.from_client:
                self.earlier = frame.data
            return Verdict.PASS
        aimed = self._target(self, frame) and not (is_echo and self._target is anything)
        return self._attack(self, frame, aimed)

    def _note(self, frame: Frame) -> bool:
        """Keep account of a message; whether it is an echo or the answer to one."""
        is_echo = len(frame.data) == _ENCRYPTED_ECHO if frame.encrypted else frame.command == ECHO
        if frame.from_client:
            self.last_request = frame.data
            self._number = self._number + 1 if frame.encrypted else frame.number
            self._echoes += is_echo
        elif is_echo and self._echoes:
            self._echoes -= 1
        else:
            return False
        return is_echo

    def header(self, frame: Frame, status: int, *, flags: int | None = None) -> bytes:
        """The header of an answer like *frame*, with another status; as good as can be guessed under encryption."""
        if frame.encrypted:
            told = FROM_SERVER if flags is None else flags
            fields = 64, 1, status, self.command, 1, told, 0, self._number, 0, 0, 0, b""
            return b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ16s", *fields)
        data = bytearray(frame.data[:64])
        struct.pack_into("<I", data, 8, status)
        if flags is not None:
            struct.pack_into("<I", data, 16, flags)
            data[48:64] = bytes(16)
        return bytes(data)


def anything(siege: Siege, frame: Frame) -> bool:
    """Every answer but that to an echo."""
    return not frame.from_client


def even_echoes(siege: Siege, frame: Frame) -> bool:
    """Every answer."""
    return not frame.from_client


def negotiation(siege: Siege, frame: Frame) -> bool:
    """The answer to a negotiation."""
    return not frame.from_client and frame.command == NEGOTIATE


def first_token(siege: Siege, frame: Frame) -> bool:
    """The answer to the first half of a log-on."""
    return not frame.from_client and frame.command == SESSION_SETUP and frame.status == MORE_PROCESSING_REQUIRED


def last_token(siege: Siege, frame: Frame) -> bool:
    """The answer that ends a log-on."""
    return not frame.from_client and frame.command == SESSION_SETUP and frame.status != MORE_PROCESSING_REQUIRED


def share(siege: Siege, frame: Frame) -> bool:
    """The answer to the first requests after a log-on, with which a share is connected."""
    return not frame.from_client and (frame.encrypted or frame.command == TREE_CONNECT)


# --- what is done ----------------------------------------------------------------------------------------------------


def _once(mangle: Callable[[Siege, Frame], Ruling]) -> Attack:
    """Do it to the first answer."""

    def attack(siege: Siege, frame: Frame, aimed: bool) -> Ruling:
        if not aimed or siege.struck:
            return Verdict.PASS
        siege.struck = True
        return mangle(siege, frame)

    return attack


def _always(mangle: Callable[[Siege, Frame], Ruling]) -> Attack:
    """Do it to each answer."""
    return lambda siege, frame, aimed: mangle(siege, frame) if aimed else Verdict.PASS


def _then_silence(mangle: Callable[[Siege, Frame], Ruling]) -> Attack:
    """Do it to the first answer, and let nothing of the server through afterwards."""

    def attack(siege: Siege, frame: Frame, aimed: bool) -> Ruling:
        if siege.struck:
            return Verdict.PASS if frame.from_client else Verdict.SWALLOW
        siege.struck = aimed
        return mangle(siege, frame) if aimed else Verdict.PASS

    return attack


def _requests(ruling: Ruling, *, once: bool = False) -> Attack:
    """Do it to requests other than echoes."""

    def attack(siege: Siege, frame: Frame, aimed: bool) -> Ruling:
        asks = len(frame.data) != _ENCRYPTED_ECHO if frame.encrypted else frame.command == siege.command
        if not frame.from_client or not asks or (once and siege.struck):
            return Verdict.PASS
        siege.struck = True
        return ruling

    return attack


def _all_requests(siege: Siege, frame: Frame, aimed: bool) -> Ruling:
    siege.struck = True
    return Verdict.SWALLOW if frame.from_client else Verdict.PASS


def _length(change: Callable[[int], int]) -> Callable[[Siege, Frame], Ruling]:
    """A message under another length than its own."""
    return lambda siege, frame: Raw(struct.pack(">I", change(len(frame.data))) + frame.data)


def _half(siege: Siege, frame: Frame) -> Ruling:
    return Raw(struct.pack(">I", len(frame.data)) + frame.data[: len(frame.data) // 2])


def _late(siege: Siege, frame: Frame) -> Ruling:
    time.sleep(0.2)
    return Verdict.PASS


def _drip(pieces: int, pause: float) -> Callable[[Siege, Frame], Ruling]:
    return lambda siege, frame: Raw(struct.pack(">I", len(frame.data)) + frame.data, pieces, pause)


def _changed(place: int, value: bytes) -> Callable[[Siege, Frame], Ruling]:
    """A message with other bytes in one place, from behind where that is negative."""

    def mangle(siege: Siege, frame: Frame) -> Ruling:
        start = place if place >= 0 else len(frame.data) + place
        return frame.data[:start] + value + frame.data[start + len(value) :]

    return mangle


def _flipped(place: int) -> Callable[[Siege, Frame], Ruling]:
    return lambda siege, frame: _changed(place, bytes([frame.data[place] ^ 1]))(siege, frame)


def _status(status: int, *, signed: bool = True) -> Callable[[Siege, Frame], Ruling]:
    """A refusal, with the flag of a signature and with that of the true answer, or with neither."""
    body = bytes.fromhex("090000000000000000")
    flags = None if signed else FROM_SERVER
    return lambda siege, frame: siege.header(frame, status, flags=flags) + body


def _pending(flags: int) -> Callable[[Siege, Frame], bytes]:
    return lambda siege, frame: siege.header(frame, PENDING, flags=flags) + bytes.fromhex("090000000000000000")


def _random(siege: Siege, frame: Frame) -> Ruling:
    return random.Random(len(frame.data)).randbytes(len(frame.data))


def _unasked(siege: Siege, frame: Frame) -> Ruling:
    header = siege.header(frame, 0, flags=FROM_SERVER)
    return Flood(header[:12] + b"\x12\0" + header[14:24] + _UNASKED + header[32:] + bytes(24))


def _earlier(siege: Siege, frame: Frame) -> Ruling:
    return siege.earlier if siege.earlier is not None else Verdict.SWALLOW


STATUSES = {
    "no such file": 0xC0000034,
    "no such directory": 0xC000003A,
    "no such share": 0xC00000CC,
    "exists": 0xC0000035,
    "shared otherwise": 0xC0000043,
    "delete pending": 0xC0000056,
    "disk full": 0xC000007F,
    "quota": 0xC0000044,
    "end of file": 0xC0000011,
    "no more files": 0x80000006,
    "not covered": 0xC0000257,
    "a link": 0x8000002D,
    "access denied": 0xC0000022,
    "not supported": 0xC00000BB,
    "session deleted": 0xC0000203,
    "session expired": 0xC000035C,
    "share closed": 0xC00000C9,
    "more processing": MORE_PROCESSING_REQUIRED,
    "success": 0,
    "unknown": 0xDEADBEEF,
}
"""What an answer may be made to say."""

_UNSIGNED = ("no such file", "access denied", "session deleted", "success")

ATTACKS: dict[str, Attack] = {
    "request dropped": _requests(Verdict.SWALLOW, once=True),
    "requests dropped, echoes not": _requests(Verdict.SWALLOW),
    "all requests dropped": _all_requests,
    "nothing more is read": _requests(Verdict.IGNORE),
    "answer dropped": _once(lambda siege, frame: Verdict.SWALLOW),
    "answers dropped, echoes not": _always(lambda siege, frame: Verdict.SWALLOW),
    "all answers dropped": _then_silence(lambda siege, frame: Verdict.SWALLOW),
    "hung up": _always(lambda siege, frame: Verdict.HANG_UP),
    "cut in the middle": _always(lambda siege, frame: Verdict.CUT),
    "half, then the next": _once(_half),
    "half, then silence": _then_silence(_half),
    "length of 16 MiB": _once(_length(lambda length: 0xFFFFFF)),
    "length of 4 GiB": _once(_length(lambda length: 0xFFFFFFFF)),
    "length of 1 MiB": _once(_length(lambda length: 1 << 20)),
    "length of 60 KB": _once(_length(lambda length: 60_000)),
    "length of one more": _once(_length(lambda length: length + 1)),
    "length of one less": _once(_length(lambda length: length - 1)),
    "length of nothing": _once(_length(lambda length: 0)),
    "a byte at a time": _once(_drip(1, 0.1)),
    "a byte at a time, again and again": _always(_drip(1, 0.1)),
    "ten bytes at a time": _always(_drip(10, 0.1)),
    "late": _once(_late),
    "twice": _once(lambda siege, frame: [frame.data, frame.data]),
    "an earlier answer": _once(_earlier),
    "our own request": _once(lambda siege, frame: siege.last_request),
    "pending": _once(_pending(FROM_SERVER | SIGNED)),
    "pending, asynchronous": _once(_pending(FROM_SERVER | SIGNED | ASYNC)),
    "pending, asynchronous, unsigned": _always(_pending(FROM_SERVER | ASYNC)),
    "pending without end": _once(lambda siege, frame: Flood(_pending(FROM_SERVER | ASYNC)(siege, frame))),
    "unasked without end": _once(_unasked),
    "unsigned": _once(lambda siege, frame: siege.header(frame, frame.status, flags=FROM_SERVER) + frame.data[64:]),
    "not from a server": _once(_flipped(16)),
    "another number": _once(_changed(24, b"\xfe" * 7)),
    "another command": _once(_changed(12, b"\x0c")),
    "another session": _once(_changed(40, b"\xee" * 8)),
    "another tree": _once(_changed(36, b"\xee" * 4)),
    "no credits": _always(_changed(14, bytes(2))),
    "all credits": _always(_changed(14, b"\xff\xff")),
    "chained to itself": _once(_changed(20, struct.pack("<I", 8))),
    "chained beyond itself": _once(_changed(20, struct.pack("<I", 0xFFFFFFF0))),
    "another signature": _once(_flipped(50)),
    "another body": _once(_flipped(-1)),
    "shorter": _once(lambda siege, frame: frame.data[:-1]),
    "a header alone": _once(lambda siege, frame: frame.data[:64]),
    "longer": _once(lambda siege, frame: frame.data + bytes(100)),
    "noise": _once(_random),
    "of another protocol": _once(lambda siege, frame: Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)),
    "SMB 1": _once(_changed(0, b"\xffSMB")),
    "encrypted for nobody": _once(lambda siege, frame: b"\xfdSMB" + bytes(200)),
    "compressed": _once(_changed(0, b"\xfcSMB")),
    **{f"status: {name}": _always(_status(status)) for name, status in STATUSES.items()},
    **{f"unsigned status: {name}": _always(_status(STATUSES[name], signed=False)) for name in _UNSIGNED},
}
"""What a network or server does, by name."""


def _lie(command: int, place: int, form: str, value: int) -> Attack:
    """Another value in the body of each answer of this kind, in its place from the start of the header."""
    return _always(
        lambda siege, frame: (
            _changed(place, struct.pack(form, value))(siege, frame) if frame.command == command else Verdict.PASS
        )
    )


LIES: dict[str, Attack] = {
    **{
        f"{name} of {value}": _lie(NEGOTIATE, place, "<I", value)
        for name, place in (("MaxTransactSize", 92), ("MaxReadSize", 96), ("MaxWriteSize", 100))
        for value in (0, 1, 4095, 0xFFFFFFFF)
    },
    **{f"dialect {value:#x}": _lie(NEGOTIATE, 68, "<H", value) for value in (0, 0x202, 0x210, 0x2FF, 0x300, 0x311)},
    **{f"security mode {value}": _lie(NEGOTIATE, 66, "<H", value) for value in (0, 1, 3)},
    **{f"{value} contexts": _lie(NEGOTIATE, 70, "<H", value) for value in (0, 1, 0xFFFF)},
    **{f"capabilities {value:#x}": _lie(NEGOTIATE, 88, "<I", value) for value in (0, 0x40, 0xFFFFFFFF)},
    **{f"token of {value} bytes": _lie(NEGOTIATE, 122, "<H", value) for value in (0, 1, 0xFFFF)},
    **{f"contexts at {value}": _lie(NEGOTIATE, 124, "<I", value) for value in (0, 64, 0xFFFFFFFF)},
    **{f"session flags {value}": _lie(SESSION_SETUP, 66, "<H", value) for value in (1, 2, 4, 7)},
    **{f"session token of {value} bytes": _lie(SESSION_SETUP, 70, "<H", value) for value in (0, 1, 0xFFFF)},
    **{f"session {value}": _lie(SESSION_SETUP, 40, "<Q", value) for value in (0, 1)},
}
"""What a server says of itself before anything is signed."""
