"""A connection with its session and tree connects."""

import os
import struct
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

from vhdx.errors import UnsupportedFeature
from vhdx.storage.credentials import Credentials
from vhdx.storage.smb import messages
from vhdx.storage.smb.channel import Channel, Request
from vhdx.storage.smb.handshake import Negotiation, establish
from vhdx.storage.smb.learned import Learned
from vhdx.storage.smb.messages import CREDIT, CreateResponse, Message, Response
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.status import (
    UNSUPPORTED,
    NtStatus,
    Refused,
    admission_failure,
    broken,
    lost,
    missing_share,
)
from vhdx.storage.smb.wire import Wire

_VALIDATE_NEGOTIATE_INFO = 0x00140204
_NO_FILE_ID = b"\xff" * 16


class Tree(NamedTuple):
    """A tree connect."""

    tree_id: int
    share: str
    encrypt_data: bool


def url(server: str, port: int) -> str:
    """The URL of a server, for messages."""
    host = f"[{server}]" if ":" in server else server
    return f"smb://{host}" + ("" if port == 445 else f":{port}")


class KeptOpen(Protocol):
    """An open handle."""

    def close(self) -> None: ...

    def abandon(self) -> None:
        """As `close`, on a connection that is lost; never waits."""


class SmbConnection:
    """A connection and its session. Safe to use from several threads.

    Messages are always signed or encrypted; a response that is neither ends the connection. Only a guest session, which
    has no keys, does neither.
    """

    def __init__(self, server: str, port: int, credentials: Credentials, settings: SmbSettings) -> None:
        self.opener = os.getpid()
        self.server = server
        self.port = port
        self.settings = settings
        self.name = url(server, port)
        self.learned = Learned()
        self.kept: dict[tuple[str, str], KeptOpen] = {}
        """Handles that stay open until the connection is closed, by share and path."""
        self._trees: dict[str, Tree] = {}
        self._trees_lock = threading.RLock()  # `_connect` may call `_forget`
        established = establish(self.name, server, port, credentials, settings)
        self._negotiation = established.negotiation
        self.transact_size = established.transact_size
        """The most bytes in the input or output of QUERY_DIRECTORY, QUERY_INFO and IOCTL."""
        self._channel = Channel(self.name, established, settings)
        # Runs when neither the pool nor an open file refers to the connection. On exit the kernel closes the socket,
        # after the last file.
        weakref.finalize(self, self._channel.abandon).atexit = False
        try:
            self._greet()
            affordable = max((self._channel.credits - 1) // 2, 1)
            limit = min(established.read_size, established.write_size, settings.request_size, affordable * CREDIT)
            self.request_size = 1 << (limit.bit_length() - 1)
            """Payload bytes of one READ or WRITE, chosen so that the credits suffice for two."""
        except BaseException:
            self._channel.close()
            raise

    def _greet(self) -> None:
        """Send an ECHO, whose response grants the credits for what follows."""
        try:
            with broken(self.name):
                self._call(None, messages.ECHO)
        except Refused as refused:
            raise admission_failure(refused.status, self.name, "the first ECHO") from refused

    @property
    def alive(self) -> bool:
        """Whether no error has ended the connection yet."""
        return self._channel.alive

    def tree(self, share: str, *, known: bool = True) -> Tree:
        """The tree connect of a share. Raises ConnectionError, PermissionError.

        FileNotFoundError if the server states under its signature that the share does not exist, but not for a share
        that is *known*: callers would take it for an answer about a file.
        """
        name = f"{self.name}/{share}"
        with self._trees_lock:
            tree = self._trees.get(share.casefold())
            if tree is None:
                try:
                    with broken(name):
                        tree = self._connect(share)
                except Refused as refused:
                    if refused.status == NtStatus.BAD_NETWORK_NAME and not known and self._channel.signs:
                        raise missing_share(name) from refused
                    raise admission_failure(refused.status, name, "TREE_CONNECT") from refused
                self._trees[share.casefold()] = tree
            return tree

    def _connect(self, share: str) -> Tree:
        response = self._call(None, messages.tree_connect(f"\\\\{self.server}\\{share}"))
        connected = messages.tree_connect_response(response)
        if connected.encrypt_data and not self._channel.encrypts:
            raise UnsupportedFeature(
                f"{self.name}/{share}: the share requires encryption, but no supported cipher was negotiated"
            )
        tree = Tree(connected.tree_id, share.casefold(), connected.encrypt_data)
        if self._negotiation.needs_validation:
            self._validate(tree, self._negotiation)
        return tree

    def _validate(self, tree: Tree, negotiation: Negotiation) -> None:
        """Validate the negotiation, which was not signed, with FSCTL_VALIDATE_NEGOTIATE_INFO (MS-SMB2 3.2.5.5)."""
        size = len(negotiation.response)
        message = messages.ioctl(_NO_FILE_ID, _VALIDATE_NEGOTIATE_INFO, negotiation.request, max_response=size)
        try:
            response = messages.ioctl_response(self._call(tree, message))
        except Refused as refused:
            # A signed error response is sufficient: the server predates this FSCTL.
            if refused.status not in UNSUPPORTED | {NtStatus.FILE_CLOSED}:
                raise
            return
        if response != negotiation.response:
            self._channel.abandon()
            raise lost(self.name, "validation of the negotiation failed; the connection may be under attack")

    def call(self, tree: Tree, message: Message) -> Response:
        """Send one request and return its response. Raises Refused, ConnectionError."""
        return self._call(tree, message)

    def create(self, tree: Tree, message: Message) -> CreateResponse:
        """What the server says of a file that it opens. Interrupted meanwhile, nothing stays open: nobody has it."""
        request = self._post(tree, message, wait=True)
        assert request is not None
        try:
            return messages.create_response(self._take(tree, request))
        except BaseException:
            if request.status == 0 and request.response is not None:
                with suppress(OSError, Refused, struct.error):
                    self._call(tree, messages.close(messages.create_response(request.response).file_id))
            raise

    def _call(self, tree: Tree | None, message: Message) -> Response:
        request = self._post(tree, message, wait=True)
        assert request is not None
        return self._take(tree, request)

    def exchange(self, tree: Tree, requests: Iterable[Message], *, depth: int) -> list[Response]:
        """Send *requests*, up to *depth* of them outstanding; return their responses in the same order.

        When one fails or is interrupted, waits for the outstanding ones before it raises: none takes effect afterwards.
        """
        responses: list[Response] = []
        outstanding: deque[Request] = deque()
        try:
            for message in requests:
                request = None
                while len(outstanding) >= depth or (request := self._post(tree, message, wait=not outstanding)) is None:
                    # Our own responses grant credits; with none outstanding, those of other threads do.
                    responses.append(self._take(tree, outstanding.popleft()))
                outstanding.append(request)
            while outstanding:
                responses.append(self._take(tree, outstanding.popleft()))
        finally:
            for request in outstanding:
                request.done.wait()
        return responses

    def _post(self, tree: Tree | None, message: Message, *, wait: bool) -> Request | None:
        if tree is None:
            return self._channel.post(message, wait=wait)
        return self._channel.post(message, tree_id=tree.tree_id, encrypted=tree.encrypt_data, wait=wait)

    def _take(self, tree: Tree | None, request: Request) -> Response:
        """The response. Interrupted meanwhile, waits for it all the same: nothing takes effect afterwards."""
        try:
            return self._channel.receive(request)
        except Refused as refused:
            if refused.status == NtStatus.NETWORK_NAME_DELETED and tree is not None:
                self._forget(tree)
            raise
        except BaseException:
            request.done.wait()
            raise

    def _forget(self, tree: Tree) -> None:
        """Make the next use connect to the share again."""
        with self._trees_lock:
            if self._trees.get(tree.share) is tree:
                del self._trees[tree.share]

    def wire(self) -> Wire:
        """Bytes sent and received so far."""
        return self._channel.wire()

    def close(self) -> None:
        """Send LOGOFF and close the socket; a lost connection is no error."""
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
        """Close the socket without LOGOFF."""
        self._channel.close()
        for kept in list(self.kept.values()):
            kept.abandon()
