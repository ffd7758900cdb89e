"""Many requests in flight over one socket: credits, signatures, and noticing that the other side is gone.

A thread receives. It never waits for anything but the socket, and when it ends, every waiting request ends with it.
Senders share a lock that the thread does not need, so a peer that reads no more cannot hold it up.
"""

import os
import select
import socket
import struct
import threading

from vhdx.storage import ownership
from vhdx.storage.base import Buffer
from vhdx.storage.smb import header, messages, wire
from vhdx.storage.smb.handshake import Established
from vhdx.storage.smb.header import (
    CHARGE,
    FROM_SERVER,
    LENGTH,
    NO_CHARGE,
    NO_SIGNATURE,
    PROTOCOL,
    SIGNATURE,
    SIGNED,
    UNASKED,
    SmbHeader,
)
from vhdx.storage.smb.messages import HEADER_LENGTH, READ_HEAD_LENGTH, Answer, Command, Message
from vhdx.storage.smb.protection import ENCRYPTED, TRANSFORM, Forged, Protection, Room
from vhdx.storage.smb.pulse import SLICES, Pulse, Verdict
from vhdx.storage.smb.status import PENDING, SESSION_GONE, Refused, lost
from vhdx.storage.smb.wire import Wire

_LONGEST = (16 << 20) + (1 << 16)
_CREDITS = 1024
"""How many the server is asked for: 64 MiB in flight."""

_HEAD = HEADER_LENGTH + READ_HEAD_LENGTH


class Request:
    """One request on its way; *done* is set when it is answered or never will be."""

    __slots__ = ("answer", "done", "encrypted", "message", "status")

    def __init__(self, message: Message, *, encrypted: bool) -> None:
        self.message = message
        self.encrypted = encrypted
        self.done = threading.Event()
        self.status: int | None = None
        self.answer: Answer | None = None


class _Broken(Exception):
    """The conversation cannot go on, and why."""


class Channel:
    """A session's requests and answers. Safe to use from several threads.

    *timeout* is in seconds; `Pulse` says what it means.
    """

    def __init__(self, name: str, established: Established, *, timeout: float) -> None:
        self.name = name
        self._opener = os.getpid()
        self._socket = established.socket
        self._session = established.keys.session
        self._encrypted = established.encrypted
        self._charges = established.charges
        self._protection = Protection(established.keys)
        self._signs = self._protection.signs
        self._sending = threading.Lock()
        self._changed = threading.Condition()  # guards all that follows
        self._next, self._end = established.numbers
        self._flying: dict[int, Request] = {}
        self._charged = 0
        self._reason: str | None = None
        self._final: Wire | None = None
        self._pulse = Pulse()
        self._frame = Room()
        _prepare(self._socket, wait=timeout / SLICES)
        self._thread = threading.Thread(target=self._work, name=f"smb-{name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it can still be used, as far as is known."""
        return self._reason is None

    @property
    def credits(self) -> int:
        """How many credits the server has given, spent or not."""
        with self._changed:
            return self._end - self._next + self._charged

    @property
    def encrypts(self) -> bool:
        """Whether the server can encrypt."""
        return self._protection.encrypts

    def post(self, message: Message, *, tree: int = 0, encrypted: bool = False, wait: bool = True) -> Request | None:
        """Send a request; without *wait*, None in place of waiting for credits. Raises ConnectionError."""
        if self._opener != os.getpid():  # keys and message numbers are those of one process
            raise ownership.refusal(self.name, self._opener)
        request = Request(message, encrypted=encrypted or self._encrypted)
        charge = message.charge
        with self._changed:
            while not self._affords(charge):
                if not wait:
                    return None
                if not self._flying:
                    # Only answers bring credits, and none is to come.
                    self.abandon()
                    raise lost(self.name, f"the server gives too few credits for a request that costs {charge}")
                self._changed.wait()
            number, wanted = self._enter(request, charge)
        self._transmit(request, number, wanted, tree)
        return request

    def _affords(self, charge: int) -> bool:
        if self._reason is not None:
            raise lost(self.name, self._reason)
        # The last one is for asking whether the server lives.
        return self._end - self._next > charge

    def _enter(self, request: Request, charge: int) -> tuple[int, int]:
        number = self._next
        self._next += charge
        self._flying[number] = request
        self._charged += charge
        missing = _CREDITS - (self._end - self._next + self._charged)
        return number, charge + max(0, missing)

    def _transmit(self, request: Request, number: int, wanted: int, tree: int) -> None:
        try:
            with self._sending:
                _send(self._socket, self._protect(request, number, wanted, tree))
        except OSError as error:
            self.abandon()
            raise lost(self.name, self._reason or "the server is gone") from error
        except BaseException:
            # Half a request may be out, or nothing of one that has its number.
            self.abandon()
            raise

    def _protect(self, request: Request, number: int, wanted: int, tree: int) -> list[Buffer]:
        message, signed = request.message, self._signs and not request.encrypted
        head = header.build(message, number=number, wanted=wanted, tree=tree, session=self._session, signed=signed)
        if not self._charges:
            head[CHARGE] = NO_CHARGE
        parts: list[Buffer] = [head, message.body, message.payload]
        if signed:
            head[SIGNATURE] = self._protection.signature(number, parts)
        elif request.encrypted:
            parts = self._protection.encrypt(parts)
        return [LENGTH.pack(sum(map(len, parts))), *parts]

    def receive(self, request: Request) -> Answer:
        """Wait for the answer, however long a live server takes. Raises Refused, ConnectionError."""
        request.done.wait()
        if request.answer is None or request.status is None:
            raise lost(self.name, self._reason or "the server is gone")
        if request.status:
            raise Refused(request.status, request.answer)
        return request.answer

    def abandon(self) -> None:
        """Hang up without a word; every request ends soon. A forked process does not: it is not its own."""
        if self._opener != os.getpid():
            return
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Hang up, and wait until nothing of the channel is left."""
        if self._opener != os.getpid():
            self._socket.close()
            return
        self.abandon()
        self._thread.join()

    def wire(self) -> Wire:
        """Bytes that crossed so far."""
        return self._final or wire.count(self._socket) or self._final or Wire(0, 0)

    def _work(self) -> None:
        reason = "an answer could not be handled"
        try:
            while True:
                self._receive_frame()
        except (_Broken, Forged) as broken:
            reason = str(broken)
        except struct.error:
            reason = "the server's answer is malformed"
        except OSError as error:
            reason = error.strerror or "the server is gone"
        finally:
            self._finish(reason)

    def _finish(self, reason: str) -> None:
        with self._changed:
            self._reason = reason
            flying = list(self._flying.values())
            self._flying.clear()
            self._changed.notify_all()
        self.abandon()
        with self._sending:
            self._final = wire.count(self._socket)
            self._socket.close()
        for request in flying:
            request.done.set()

    def _receive_frame(self) -> None:
        length = LENGTH.unpack(self._take(LENGTH.size))[0]
        if not HEADER_LENGTH <= length <= _LONGEST:
            raise _Broken("the server sends what is not SMB")
        head = self._take(min(length, _HEAD))
        if head.startswith(PROTOCOL) and self._places(header.parse(head), head, length):
            return
        frame = self._frame.take(length)
        frame[: len(head)] = head
        self._fill(frame[len(head) :])
        if head.startswith(PROTOCOL):
            self._handle(frame, encrypted=False)
        elif head.startswith(ENCRYPTED) and length > TRANSFORM.size:
            self._handle(self._protection.decrypt(frame), encrypted=True)
        else:
            raise _Broken("the server sends what is not SMB")

    def _places(self, head: SmbHeader, data: bytearray, length: int) -> bool:
        """Take the payload of a read straight into the reader's buffer, where that can be done."""
        with self._changed:
            request = self._flying.get(head.number)
        if request is None or request.encrypted or head.status or head.following:
            return False
        if self._signs and not head.flags & SIGNED:
            return False
        into = request.message.into
        if into is None or head.command != Command.READ or len(data) != _HEAD:
            return False
        offset, size = messages.read_extent(data[HEADER_LENGTH:])
        if offset != _HEAD or size > len(into) or length != offset + size:
            return False
        payload = into[:size]
        self._fill(payload)
        if self._signs:
            data[SIGNATURE] = NO_SIGNATURE
            self._protection.check(head.number, head.signature, [data, payload])
        self._settle(head, Answer(head.tree, memoryview(data)[HEADER_LENGTH:], size))
        return True

    def _handle(self, frame: memoryview, *, encrypted: bool) -> None:
        """Handle the answers in one frame, which follow each other."""
        while len(frame):
            head = header.parse(frame)
            part = frame[: head.following or len(frame)]
            frame = frame[head.following or len(frame) :]
            if head.protocol != PROTOCOL or not head.flags & FROM_SERVER or len(part) < HEADER_LENGTH:
                raise _Broken("the server sends what is not an answer")
            if head.number != UNASKED:
                self._accept(head, part, encrypted=encrypted)

    def _accept(self, head: SmbHeader, part: memoryview, *, encrypted: bool) -> None:
        with self._changed:
            request = self._flying.get(head.number)
        if request is None or head.command != request.message.command:
            raise _Broken("unexpected response: no matching request")
        if head.status == PENDING:
            self._give(head.credits)
            return
        if head.status in SESSION_GONE:
            # A server that has lost the keys cannot sign this, and believing it is no worse than being cut off.
            raise _Broken(SESSION_GONE[head.status])
        if not encrypted:
            self._check(request, head, part)
        body, into, placed = part[HEADER_LENGTH:], request.message.into, 0
        if into is not None and not head.status:
            payload = Answer(head.tree, body).part(*messages.read_extent(body))
            placed = len(payload)
            if placed > len(into):
                raise _Broken("the server sends more than was asked for")
            into[:placed] = payload
            body = body[:READ_HEAD_LENGTH]
        # The memory of the frame is used again for the next one.
        self._settle(head, Answer(head.tree, memoryview(bytes(body)), placed))

    def _check(self, request: Request, head: SmbHeader, part: memoryview) -> None:
        """Let nothing through that the server did not sign, unless for a guest."""
        if not self._signs and not request.encrypted:
            return
        if request.encrypted or not head.flags & SIGNED:
            raise _Broken("an answer is neither signed nor encrypted; somebody may be tampering with the connection")
        parts: list[Buffer] = [part[: SIGNATURE.start], NO_SIGNATURE, part[SIGNATURE.stop :]]
        self._protection.check(head.number, head.signature, parts)

    def _settle(self, head: SmbHeader, answer: Answer) -> None:
        with self._changed:
            request = self._flying.pop(head.number)
            self._charged -= request.message.charge
            self._end += head.credits
            self._changed.notify_all()
        request.status, request.answer = head.status, answer
        request.done.set()

    def _give(self, credits: int) -> None:
        with self._changed:
            self._end += credits
            self._changed.notify_all()

    def _take(self, length: int) -> bytearray:
        data = bytearray(length)
        self._fill(memoryview(data))
        return data

    def _fill(self, view: memoryview) -> None:
        while len(view):
            try:
                count = self._socket.recv_into(view, 0, socket.MSG_WAITALL)
            except BlockingIOError:
                self._look_for_life()
                continue
            if not count:
                raise _Broken("the server hung up")
            self._pulse.heard()
            view = view[count:]

    def _look_for_life(self) -> None:
        """Nothing came for a slice of the timeout: ask for a sign of life when it is time to, or give up."""
        match self._pulse.missed(wire.count(self._socket)):
            case Verdict.DEAD:
                raise _Broken("the server does not answer any more")
            case Verdict.ASK if self._ask():
                self._pulse.asked()

    def _ask(self) -> bool:
        """Send an echo unless that would mean to wait, for a sender or for room; whether it was sent."""
        if not self._sending.acquire(blocking=False):
            return False
        try:
            with self._changed:
                if self._end == self._next or not _has_room(self._socket):
                    return False
                request = Request(messages.ECHO, encrypted=self._encrypted)
                number, wanted = self._enter(request, 1)
            _send(self._socket, self._protect(request, number, wanted, 0), socket.MSG_DONTWAIT)
            return True
        finally:
            self._sending.release()


def _prepare(connection: socket.socket, *, wait: float) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds, rest = divmod(max(wait, 0.01), 1)
    # Unlike Python's own timeout it holds for receiving alone, and costs no further system call.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", int(seconds), int(rest * 1e6)))


def _has_room(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return bool(poll.poll(0))


def _send(connection: socket.socket, parts: list[Buffer], flags: int = 0) -> None:
    views = [memoryview(part) for part in parts if len(part)]
    while views:
        sent = connection.sendmsg(views, [], flags)
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if sent:
            views[0] = views[0][sent:]
