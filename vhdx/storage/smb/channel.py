"""Pipelined requests over one socket: credits, signatures, encryption, and detection of a dead server.

One thread receives. It waits for nothing but the socket; when it ends, it completes every outstanding request. Senders
share a lock that the thread does not take, so a server that stops reading cannot block it.
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
from vhdx.storage.smb.status import SESSION_LOST, NtStatus, Refused, lost
from vhdx.storage.smb.wire import Wire

_LONGEST = (16 << 20) + (1 << 16)
_CREDITS = 1024
"""Credits to request in total: 64 MiB in flight."""

_HEAD = HEADER_LENGTH + READ_HEAD_LENGTH


class Request:
    """An outstanding request; *done* is set when its response arrives or the connection ends."""

    __slots__ = ("done", "encrypted", "message", "response", "status")

    def __init__(self, message: Message, *, encrypted: bool) -> None:
        self.message = message
        self.encrypted = encrypted
        self.done = threading.Event()
        self.status: int | None = None
        self.response: Response | None = None


class _Broken(Exception):
    """The connection cannot be used any more; the text is the reason."""


class Channel:
    """A session's requests and responses. Safe to use from several threads.

    *timeout* is in seconds; see `Pulse`.
    """

    def __init__(self, name: str, established: Established, *, timeout: float) -> None:
        self.name = name
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
        self._reason: str | None = None
        self._final: Wire | None = None
        self._pulse = Pulse()
        self._frame = Room()
        _prepare(self._socket, wait=timeout / SLICES)
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
    def encrypts(self) -> bool:
        """Whether a cipher was negotiated."""
        return self._protection.encrypts

    def post(self, message: Message, *, tree_id: int = 0, encrypted: bool = False, wait: bool = True) -> Request | None:
        """Send a request; without *wait*, return None if credits are missing. Raises ConnectionError."""
        if self._opener != os.getpid():  # two processes must not use the same nonces and MessageIds
            raise ownership.refusal(self.name, self._opener)
        request = Request(message, encrypted=encrypted or self._encrypted)
        charge = message.credit_charge
        with self._changed:
            while not self._has_credits(charge):
                if not wait:
                    return None
                if not self._outstanding:
                    # Only responses grant credits, and none is outstanding.
                    self.abandon()
                    raise lost(self.name, f"the server grants too few credits for a CreditCharge of {charge}")
                self._changed.wait()
            message_id, credit_request = self._register(request, charge)
        self._transmit(request, message_id, credit_request, tree_id)
        return request

    def _has_credits(self, charge: int) -> bool:
        if self._reason is not None:
            raise lost(self.name, self._reason)
        # The last credit is reserved for an ECHO.
        return self._end - self._next > charge

    def _register(self, request: Request, charge: int) -> tuple[int, int]:
        message_id = self._next
        self._next += charge
        self._outstanding[message_id] = request
        self._charged += charge
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
        """Wait for the response, without limit while the server is alive. Raises Refused, ConnectionError."""
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
        if not HEADER_LENGTH <= length <= _LONGEST:
            raise _Broken("received data that is not SMB")
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

    def _accept(self, head: SmbHeader, part: memoryview, *, encrypted: bool) -> None:
        with self._changed:
            request = self._outstanding.get(head.message_id)
        if request is None or head.command != request.message.command:
            raise _Broken("unexpected response: no matching request")
        if head.status == NtStatus.PENDING:
            self._grant(head.credits)
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

    def _check(self, request: Request, head: SmbHeader, part: memoryview) -> None:
        """Verify the signature (MS-SMB2 3.2.5.1.3); a guest session has none."""
        if not self._signs and not request.encrypted:
            return
        if request.encrypted or not head.flags & SIGNED:
            raise _Broken("a response is neither signed nor encrypted; the connection may be under attack")
        parts: list[Buffer] = [part[: SIGNATURE.start], NO_SIGNATURE, part[SIGNATURE.stop :]]
        self._protection.check(head.message_id, head.signature, parts)

    def _complete(self, head: SmbHeader, response: Response) -> None:
        with self._changed:
            request = self._outstanding.pop(head.message_id)
            self._charged -= request.message.credit_charge
            self._end += head.credits
            self._changed.notify_all()
        request.status, request.response = head.status, response
        request.done.set()

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
                self._check_alive()
                continue
            if not count:
                raise _Broken("the server closed the connection")
            self._pulse.heard()
            view = view[count:]

    def _check_alive(self) -> None:
        """Called after a slice of the timeout without data: send an ECHO or give up, as `Pulse` decides."""
        match self._pulse.missed(wire.count(self._socket)):
            case Verdict.DEAD:
                raise _Broken("the server does not respond")
            case Verdict.ASK if self._send_echo():
                self._pulse.asked()

    def _send_echo(self) -> bool:
        """Send an ECHO unless that would block on another sender or on a full socket; whether it was sent."""
        if not self._sending.acquire(blocking=False):
            return False
        try:
            with self._changed:
                if self._end == self._next or not _has_room(self._socket):
                    return False
                request = Request(messages.ECHO, encrypted=self._encrypted)
                message_id, credit_request = self._register(request, 1)
            _send(self._socket, self._protect(request, message_id, credit_request, 0), socket.MSG_DONTWAIT)
            return True
        finally:
            self._sending.release()


def _prepare(connection: socket.socket, *, wait: float) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds, rest = divmod(max(wait, 0.01), 1)
    # Unlike Python's own timeout, it applies to receiving only and needs no extra system call.
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
