"""One session on a server: its shares, and many requests in flight for one caller."""

import os
import struct
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from vhdx.errors import UnsupportedFeature
from vhdx.storage.credentials import Credentials
from vhdx.storage.smb import messages
from vhdx.storage.smb.channel import Channel, Request
from vhdx.storage.smb.handshake import Negotiation, establish
from vhdx.storage.smb.messages import CREDIT, Answer, Message
from vhdx.storage.smb.offload import Offload
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.status import FILE_CLOSED, SHARE_GONE, UNSUPPORTED, Refused, failures, lost
from vhdx.storage.smb.wire import Wire

_VALIDATE_NEGOTIATION = 0x00140204
_NO_FILE = b"\xff" * 16


class Tree(NamedTuple):
    """A share as a session knows it."""

    number: int
    share: str
    encrypted: bool


def url(server: str, port: int) -> str:
    """How a server is named in messages."""
    host = f"[{server}]" if ":" in server else server
    return f"smb://{host}" + ("" if port == 445 else f":{port}")


class KeptOpen(Protocol):
    """Something open on a server."""

    def close(self) -> None: ...

    def abandon(self) -> None:
        """As `close`, on a connection that is lost; never waits."""


class SmbConnection:
    """A connection and its session. Safe to use from several threads.

    Messages are always signed or encrypted, and answers that are neither end the connection. Only what a guest does
    is neither, since the log-on of a guest gives no key.
    """

    def __init__(self, server: str, port: int, credentials: Credentials, settings: SmbSettings) -> None:
        self.opener = os.getpid()
        self.server = server
        self.port = port
        self.settings = settings
        self.name = url(server, port)
        self.offload = Offload()
        self.kept: dict[tuple[str, str], KeptOpen] = {}
        """What stays open until the connection is closed, by share and path."""
        self._trees: dict[str, Tree] = {}
        self._trees_lock = threading.RLock()  # connecting may find that a share is gone
        established = establish(self.name, server, port, credentials, settings)
        self._negotiation = established.negotiation
        self._channel = Channel(self.name, established, timeout=settings.timeout)
        # Neither pool nor open file has it any more. A process that exits hangs up anyway, after the last of its files.
        weakref.finalize(self, self._channel.abandon).atexit = False
        try:
            with failures(self.name):
                # Its answer brings the credits for all that comes.
                self._call(None, messages.ECHO)
        except BaseException:
            self._channel.close()
            raise
        affordable = max((self._channel.credits - 1) // 2, 1)
        limit = min(established.read_size, established.write_size, settings.request_size, affordable * CREDIT)
        self.request_size = 1 << (limit.bit_length() - 1)
        """Payload bytes of one read or write, such that two of them never lack credits."""

    @property
    def alive(self) -> bool:
        """Whether nothing has gone wrong with it yet."""
        return self._channel.alive

    def tree(self, share: str) -> Tree:
        """The connected tree of a share. Raises FileNotFoundError, PermissionError."""
        with self._trees_lock:
            tree = self._trees.get(share.casefold())
            if tree is None:
                with failures(f"{self.name}/{share}"):
                    tree = self._connect(share)
                self._trees[share.casefold()] = tree
            return tree

    def _connect(self, share: str) -> Tree:
        connected = messages.connected(self._call(None, messages.tree_connect(f"\\\\{self.server}\\{share}")))
        if connected.encrypted and not self._channel.encrypts:
            raise UnsupportedFeature(f"{self.name}/{share}: encryption is required, and the server offers none we know")
        tree = Tree(connected.tree, share.casefold(), connected.encrypted)
        if self._negotiation.needs_confirmation:
            self._confirm(tree, self._negotiation)
        return tree

    def _confirm(self, tree: Tree, negotiation: Negotiation) -> None:
        """Have the server repeat under signature what was said before there was one (MS-SMB2 3.2.5.5)."""
        size = len(negotiation.confirmation)
        message = messages.control(_NO_FILE, _VALIDATE_NEGOTIATION, negotiation.claim, answer=size)
        try:
            answer = messages.controlled(self._call(tree, message))
        except Refused as refused:
            # A signed refusal is confirmation enough: the server is older than the question.
            if refused.status not in UNSUPPORTED | {FILE_CLOSED}:
                raise
            return
        if answer != negotiation.confirmation:
            self._channel.abandon()
            raise lost(self.name, "somebody has tampered with the negotiation")

    def call(self, tree: Tree, message: Message) -> Answer:
        """The answer to one message, however long a live server takes. Raises Refused, ConnectionError."""
        return self._call(tree, message)

    def _call(self, tree: Tree | None, message: Message) -> Answer:
        request = self._post(tree, message, wait=True)
        assert request is not None
        return self._take(tree, request)

    def exchange(self, tree: Tree, requests: Iterable[Message], *, depth: int) -> list[Answer]:
        """The answers to *requests* in their order, with up to *depth* of them in flight.

        When one is refused, those in flight are waited for before Refused is raised: nothing lands afterwards.
        """
        answers: list[Answer] = []
        flying: deque[Request] = deque()
        try:
            for message in requests:
                request = None
                while len(flying) >= depth or (request := self._post(tree, message, wait=not flying)) is None:
                    # Our own answers bring credits; without any on their way, those of other threads do.
                    answers.append(self._take(tree, flying.popleft()))
                flying.append(request)
            while flying:
                answers.append(self._take(tree, flying.popleft()))
        finally:
            for request in flying:
                request.done.wait()
        return answers

    def _post(self, tree: Tree | None, message: Message, *, wait: bool) -> Request | None:
        if tree is None:
            return self._channel.post(message, wait=wait)
        return self._channel.post(message, tree=tree.number, encrypted=tree.encrypted, wait=wait)

    def _take(self, tree: Tree | None, request: Request) -> Answer:
        try:
            return self._channel.receive(request)
        except Refused as refused:
            if refused.status == SHARE_GONE and tree is not None:
                self._forget(tree)
            raise

    def _forget(self, tree: Tree) -> None:
        """Let the next use connect to the share again."""
        with self._trees_lock:
            if self._trees.get(tree.share) is tree:
                del self._trees[tree.share]

    def wire(self) -> Wire:
        """Bytes that crossed this connection so far."""
        return self._channel.wire()

    def close(self) -> None:
        """Log off and hang up; a server that is gone already is fine."""
        try:
            if self.opener == os.getpid():
                for kept in list(self.kept.values()):
                    kept.close()
                self._call(None, messages.LOGOFF)
        except (OSError, Refused, struct.error):
            pass
        finally:
            self._channel.close()

    def abandon(self) -> None:
        """Hang up without a word."""
        self._channel.close()
        for kept in list(self.kept.values()):
            kept.abandon()
