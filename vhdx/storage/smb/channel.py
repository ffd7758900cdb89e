"""Pipelined requests over one socket: credits, signatures, encryption, and detection of a dead server.

One thread receives. It waits for nothing but the socket; when it ends, it completes every outstanding request. Senders
share a lock that the thread does not take, so a server that stops reading cannot block it. It also enforces all
deadlines: of each request, of each message that is being received, and of a sign of life.
"""

import os
import select
import socket
import struct
import threading
from collections import deque

from vhdx.logs import debug
from vhdx.storage import ownership
from vhdx.storage.base import Buffer
from vhdx.storage.smb import header, messages, wire
from vhdx.storage.smb.deadlines import FLOOR, Clock, transfer_seconds
from vhdx.storage.smb.handshake import Established
from vhdx.storage.smb.header import (
    ASYNC_COMMAND,
    CREDIT_CHARGE,
    LENGTH,
    NO_CHARGE,
    NO_SIGNATURE,
    PROTOCOL_ID,
    SERVER_TO_REDIR,
    SIGNATURE,
    SIGNED,
    UNSOLICITED,
    SmbHeader,
)
from vhdx.storage.smb.messages import HEADER_LENGTH, READ_HEAD_LENGTH, Command, Message, Response
from vhdx.storage.smb.protection import ENCRYPTED, TRANSFORM, Forged, Protection, Room
from vhdx.storage.smb.pulse import SLICES, Pulse, Verdict
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.status import SESSION_LOST, NtStatus, Refused, lost
from vhdx.storage.smb.wire import Wire

_ROOM = 64 << 10
"""Bytes of a response beside the payload that was asked for: headers, create contexts, error data."""
_CREDITS = 1024
"""Credits to request in total: 64 MiB in flight."""

_HEAD = HEADER_LENGTH + READ_HEAD_LENGTH


class Request:
    """An outstanding request; *done* is set when its response arrives or the connection ends."""

    __slots__ = (
        "begun",
        "charge",
        "done",
        "encrypted",
        "logged",
        "message",
        "patience",
        "pending",
        "response",
        "status",
        "volume",
    )

    def __init__(self, message: Message, *, encrypted: bool) -> None:
        self.message = message
        self.charge = message.credit_charge
        self.volume = message.volume
        self.encrypted = encrypted
        self.done = threading.Event()
        self.status: int | None = None
        self.response: Response | None = None
        self.pending = False  # an interim response was received
        self.begun = self.patience = self.logged = 0.0  # seconds of the channel's clock

    def begin(self, now: float, patience: float) -> None:
        """Start the time: the response is due within *patience*."""
        self.begun = self.logged = now
        self.patience = patience


class _Broken(Exception):
    """The connection cannot be used any more; the text is the reason."""


class Channel:
    """A session's requests and responses. Safe to use from several threads.

    The timeouts of *settings* hold whatever the server sends or withholds: the first that expires ends the channel.
    """

    def __init__(self, name: str, established: Established, settings: SmbSettings) -> None:
        self.name = name
        self._settings = settings
        self._opener = os.getpid()
        self._socket = established.socket
        self._session_id = established.keys.session_id
        self._encrypted = established.encrypted
        self._multi_credit = established.multi_credit
        self._protection = Protection(established.keys)
        self._signs = self._protection.signs
        self._sending = threading.Lock()
        self._changed = threading.Condition()  # guards the attributes below
        self._next, self._end = established.sequence_window
        self._outstanding: dict[int, Request] = {}
        self._charged = 0  # sum of the CreditCharges of outstanding requests
        self._volume = 0  # sum of their payloads
        self._queue: deque[object] = deque()  # threads that wait for credits
        self._reason: str | None = None
        self._final: Wire | None = None
        step = max(settings.timeout / SLICES, 0.01)
        self._clock = Clock(step)
        self._pulse = Pulse(floor=int(FLOOR * step))
        self._frame = Room()
        self._frame_end: float | None = None  # when the message that is being received must be complete
        self._moved = 0  # bytes received, except after a message that anybody could have sent
        self._doubtful = False  # the last message was such a one
        _prepare(self._socket, wait=step)
        self._thread = threading.Thread(target=self._work, name=f"smb-{name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether no error has ended the connection yet."""
        return self._reason is None

    @property
    def credits(self) -> int:
        """Credits that the server has granted, including those of outstanding requests."""
        with self._changed:
            return self._end - self._next + self._charged

    @property
    def signs(self) -> bool:
        """Whether responses are signed or encrypted: always, except in a guest session."""
        return self._signs

    @property
    def encrypts(self) -> bool:
        """Whether a cipher was negotiated."""
        return self._protection.encrypts

    def post(self, message: Message, *, tree_id: int = 0, encrypted: bool = False, wait: bool = True) -> Request | None:
        """Send a request; without *wait*, return None if credits are missing. Raises ConnectionError."""
        if self._opener != os.getpid():  # two processes must not use the same nonces and MessageIds
            raise ownership.refusal(self.name, self._opener)
        request = Request(message, encrypted=encrypted or self._encrypted)
        with self._changed:
            if not self._wait_for_credits(request, wait=wait):
                return None
            message_id, credit_request = self._register(request)
        self._transmit(request, message_id, credit_request, tree_id)
        return request

    def _wait_for_credits(self, request: Request, *, wait: bool) -> bool:
        """Wait, in turn, until there are credits for *request*; False if there are none now and *wait* is not set."""
        if not self._queue and self._has_credits(request.charge):
            return True
        if not wait:
            return False
        place, begun, patience = object(), self._clock.now, self._patience(request)
        self._queue.append(place)
        try:
            while not self._has_credits(request.charge) or self._queue[0] is not place:
                # Only responses grant credits, and the first in the queue may take all of them.
                hopeless = self._queue[0] is place and not self._outstanding
                if hopeless or self._clock.now > begun + patience:
                    self.abandon()
                    reason = f"the server grants too few credits for a CreditCharge of {request.charge}"
                    raise lost(self.name, reason)
                self._changed.wait()
        finally:
            self._queue.remove(place)
            self._changed.notify_all()
        return True

    def _has_credits(self, charge: int) -> bool:
        if self._reason is not None:
            raise lost(self.name, self._reason)
        # The last credit is reserved for an ECHO, unless the server never grants another.
        return self._end - self._next >= charge + bool(self._outstanding)

    def _patience(self, request: Request) -> float:
        """Seconds that the response may take, behind all that is in flight."""
        seconds = self._settings.long_timeout if request.message.long else self._settings.request_timeout
        return seconds + transfer_seconds(self._volume + request.volume)

    def _register(self, request: Request) -> tuple[int, int]:
        message_id, charge = self._next, request.charge
        request.begin(self._clock.now, self._patience(request))
        self._next += charge
        self._outstanding[message_id] = request
        self._charged += charge
        self._volume += request.volume
        missing = _CREDITS - (self._end - self._next + self._charged)
        return message_id, charge + max(0, missing)

    def _transmit(self, request: Request, message_id: int, credit_request: int, tree_id: int) -> None:
        try:
            with self._sending:
                _send(self._socket, self._protect(request, message_id, credit_request, tree_id))
        except OSError as error:
            self.abandon()
            raise lost(self.name, self._reason or "the server closed the connection") from error
        except BaseException:
            # The request may be sent in part, or its MessageId is used and nothing was sent.
            self.abandon()
            raise

    def _protect(self, request: Request, message_id: int, credit_request: int, tree_id: int) -> list[Buffer]:
        message, signed = request.message, self._signs and not request.encrypted
        head = header.build(
            message,
            message_id=message_id,
            credit_request=credit_request,
            tree_id=tree_id,
            session_id=self._session_id,
            signed=signed,
        )
        if not self._multi_credit:
            head[CREDIT_CHARGE] = NO_CHARGE
        parts: list[Buffer] = [head, message.body, message.payload]
        if signed:
            head[SIGNATURE] = self._protection.signature(message_id, parts)
        elif request.encrypted:
            parts = self._protection.encrypt(parts)
        return [LENGTH.pack(sum(map(len, parts))), *parts]

    def receive(self, request: Request) -> Response:
        """Wait for the response, at most until its deadline. Raises Refused, ConnectionError."""
        request.done.wait()
        if request.response is None or request.status is None:
            raise lost(self.name, self._reason or "the server closed the connection")
        if request.status:
            raise Refused(request.status, request.response)
        return request.response

    def abandon(self) -> None:
        """Shut the socket down; outstanding requests fail. Does nothing in a forked process, which does not own it."""
        if self._opener != os.getpid():
            return
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Shut the socket down and wait for the receiving thread to end."""
        if self._opener != os.getpid():
            self._socket.close()
            return
        self.abandon()
        self._thread.join()

    def wire(self) -> Wire:
        """Bytes sent and received so far."""
        return self._final or wire.count(self._socket) or self._final or Wire(0, 0)

    def _work(self) -> None:
        reason = "internal error in the receiving thread"
        try:
            while True:
                self._receive_frame()
        except (_Broken, Forged) as broken:
            reason = str(broken)
        except struct.error:
            reason = "malformed response"
        except OSError as error:
            reason = error.strerror or "the server closed the connection"
        finally:
            self._finish(reason)

    def _finish(self, reason: str) -> None:
        with self._changed:
            self._reason = reason
            outstanding = list(self._outstanding.values())
            self._outstanding.clear()
            self._changed.notify_all()
        self.abandon()
        with self._sending:
            self._final = wire.count(self._socket)
            self._socket.close()
        for request in outstanding:
            request.done.set()

    def _receive_frame(self) -> None:
        length = LENGTH.unpack(self._take(LENGTH.size))[0]
        if length < HEADER_LENGTH:
            raise _Broken("received data that is not SMB")
        if length > _ROOM and length > _ROOM + self._largest():
            raise _Broken(f"the server announces {length} bytes, more than was requested")
        self._frame_end = self._clock.now + self._settings.timeout + transfer_seconds(length)
        self._receive_message(length)
        self._frame_end = None

    def _largest(self) -> int:
        """The most payload bytes that one response may have."""
        with self._changed:
            return max((request.message.max_response for request in self._outstanding.values()), default=0)

    def _receive_message(self, length: int) -> None:
        head = self._take(min(length, _HEAD))
        if head.startswith(PROTOCOL_ID) and self._receive_payload(header.parse(head), head, length):
            return
        frame = self._frame.take(length)
        frame[: len(head)] = head
        self._fill(frame[len(head) :])
        if head.startswith(PROTOCOL_ID):
            self._handle(frame, encrypted=False)
        elif head.startswith(ENCRYPTED) and length > TRANSFORM.size:
            self._handle(self._protection.decrypt(frame), encrypted=True)
        else:
            raise _Broken("received data that is not SMB")

    def _receive_payload(self, head: SmbHeader, data: bytearray, length: int) -> bool:
        """Receive the payload of a READ response directly into the reader's buffer; False if it is no such response."""
        with self._changed:
            request = self._outstanding.get(head.message_id)
        if request is None or request.encrypted or head.status or head.next_command:
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
            self._protection.check(head.message_id, head.signature, [data, payload])
        self._complete(head, Response(head.tree_id, memoryview(data)[HEADER_LENGTH:], size))
        return True

    def _handle(self, frame: memoryview, *, encrypted: bool) -> None:
        """Handle the responses of one frame, which may be compounded (MS-SMB2 3.2.5.1.9)."""
        while len(frame):
            head = header.parse(frame)
            part = frame[: head.next_command or len(frame)]
            frame = frame[head.next_command or len(frame) :]
            if head.protocol_id != PROTOCOL_ID or not head.flags & SERVER_TO_REDIR or len(part) < HEADER_LENGTH:
                raise _Broken("received a message that is not a response")
            if head.message_id != UNSOLICITED:
                self._accept(head, part, encrypted=encrypted)
            elif not encrypted:
                self._doubtful = True

    def _accept(self, head: SmbHeader, part: memoryview, *, encrypted: bool) -> None:
        with self._changed:
            request = self._outstanding.get(head.message_id)
        if request is None or head.command != request.message.command:
            raise _Broken("unexpected response: no matching request")
        if head.status == NtStatus.PENDING:
            self._postpone(request, head, part, encrypted=encrypted)
            return
        if head.status in SESSION_LOST:
            # A server without the session's keys cannot sign this. A forged one does no more harm than a TCP reset.
            raise _Broken(SESSION_LOST[head.status])
        if not encrypted:
            self._check(request, head, part)
        body, into, placed = part[HEADER_LENGTH:], request.message.into, 0
        if into is not None and not head.status:
            payload = Response(head.tree_id, body).part(*messages.read_extent(body))
            placed = len(payload)
            if placed > len(into):
                raise _Broken("a READ response is longer than requested")
            into[:placed] = payload
            body = body[:READ_HEAD_LENGTH]
        # Copied, because the next frame reuses this memory.
        self._complete(head, Response(head.tree_id, memoryview(bytes(body)), placed))

    def _postpone(self, request: Request, head: SmbHeader, part: memoryview, *, encrypted: bool) -> None:
        """Handle an interim response (MS-SMB2 3.2.5.1.5), which extends no deadline.

        Servers need not sign it. Unsigned or repeated, it is no sign of life.
        """
        if not head.flags & ASYNC_COMMAND or (request.encrypted and not encrypted):
            raise _Broken("received an invalid interim response; the connection may be under attack")
        if request.pending:
            self._doubtful = True
        elif encrypted or not self._signs or self._is_signed(head, part):
            self._hear()
        request.pending = True
        self._grant(head.credits)

    def _check(self, request: Request, head: SmbHeader, part: memoryview) -> None:
        """Verify the signature (MS-SMB2 3.2.5.1.3); a guest session has none."""
        if not self._signs and not request.encrypted:
            return
        if request.encrypted or not head.flags & SIGNED:
            raise _Broken("a response is neither signed nor encrypted; the connection may be under attack")
        self._protection.check(head.message_id, head.signature, _unsigned(part))

    def _is_signed(self, head: SmbHeader, part: memoryview) -> bool:
        if not head.flags & SIGNED:
            return False
        try:
            self._protection.check(head.message_id, head.signature, _unsigned(part))
        except Forged:
            return False
        return True

    def _complete(self, head: SmbHeader, response: Response) -> None:
        with self._changed:
            request = self._outstanding.pop(head.message_id)
            self._charged -= request.charge
            self._volume -= request.volume
            self._end += head.credits
            self._changed.notify_all()
        self._hear()
        request.status, request.response = head.status, response
        request.done.set()

    def _hear(self) -> None:
        self._doubtful = False
        self._pulse.heard()

    def _grant(self, credits: int) -> None:
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
                count = -1
            if not count:
                raise _Broken("the server closed the connection")
            if self._clock.advance():
                self._check_deadlines()
            if count > 0:
                self._moved += 0 if self._doubtful else count
                view = view[count:]

    def _check_deadlines(self) -> None:
        """Called after each slice of the timeout: find what is overdue, and send an ECHO if `Pulse` says so."""
        self._check_requests()
        if self._frame_end is not None and self._clock.now > self._frame_end:
            raise _Broken("a response is received too slowly")
        acknowledged = wire.count(self._socket)
        verdict = self._pulse.missed(self._moved + (acknowledged.sent if acknowledged else 0))
        if verdict in (Verdict.ASK, Verdict.MUTE) and self._send_echo():
            self._pulse.asked()
        elif verdict is Verdict.DEAD or (verdict is Verdict.MUTE and self._could_ask()):
            raise _Broken("the server does not respond")

    def _check_requests(self) -> None:
        with self._changed:
            outstanding = list(self._outstanding.values())
            self._changed.notify_all()  # threads that wait for credits check their time, too
        now = self._clock.now
        for request in outstanding:
            name, waited = request.message.command.name, now - request.begun
            if waited > request.patience:
                raise _Broken(f"no response to {name} within {waited:.3g} seconds")
            if now - request.logged >= self._settings.timeout:
                request.logged = now
                pending = " (STATUS_PENDING)" if request.pending else ""
                message = "%s: waiting for the response to %s%s: %.3g of at most %.3g seconds"
                debug(__name__, message, self.name, name, pending, waited, request.patience)

    def _could_ask(self) -> bool:
        """Whether there is a credit for an ECHO: a server may grant one at a time."""
        with self._changed:
            return self._end > self._next

    def _send_echo(self) -> bool:
        """Send an ECHO unless that would block on another sender or on a full socket; whether it was sent."""
        if not self._sending.acquire(blocking=False):
            return False
        try:
            with self._changed:
                if self._end == self._next or not _has_room(self._socket):
                    return False
                request = Request(messages.ECHO, encrypted=self._encrypted)
                message_id, credit_request = self._register(request)
            _send(self._socket, self._protect(request, message_id, credit_request, 0), socket.MSG_DONTWAIT)
            return True
        finally:
            self._sending.release()


def _prepare(connection: socket.socket, *, wait: float) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds, rest = divmod(max(wait, 0.01), 1)
    # Unlike Python's own timeout, it applies to receiving only and needs no extra system call.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", int(seconds), int(rest * 1e6)))


def _unsigned(part: memoryview) -> list[Buffer]:
    """A message with a Signature of zeros."""
    return [part[: SIGNATURE.start], NO_SIGNATURE, part[SIGNATURE.stop :]]


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
