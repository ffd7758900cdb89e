"""Log-on and what goes wrong before a file is reached: every failure has a kind and a name, and tells no secret."""

import gc
import itertools
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from tests.conftest import connect
from tests.support.relay import Frame, Relay, Verdict
from tests.support.smbd import Smbd
from vhdx.errors import Error, UnsupportedFeature
from vhdx.storage.base import Access
from vhdx.storage.smb import Credentials, SmbPool, SmbSettings
from vhdx.storage.transfer import pread, pwrite

pytestmark = pytest.mark.smb

SECRET = "Tr0ub4dor&3"
QUICK = SmbSettings(timeout=2, connect_timeout=1)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def refusal(port: int, account: Credentials, kind: type[Exception], host: str = "127.0.0.1") -> Exception:
    with SmbPool() as pool, pytest.raises(kind) as caught:
        pool.share(host, "share", port=port, credentials=account, settings=QUICK)
    return caught.value


def everything_told(error: BaseException) -> str:
    """The error, what it came from, and what each carries."""
    text = "".join(traceback.format_exception(error))
    cause: BaseException | None = error
    while cause is not None:
        text += repr(cause) + repr(cause.args) + repr(vars(cause))
        cause = cause.__cause__ or cause.__context__
    return text


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """Every frame behind an error and what it came from, but for those of the tests."""
    seen: set[int] = set()
    causes: list[BaseException | None] = [error]
    while causes:
        cause = causes.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        causes += [cause.__cause__, cause.__context__]
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            if frame.f_globals["__name__"] != __name__:
                yield frame


def holds(root: object, secret: str) -> bool:
    """Whether *secret* can be reached from *root* other than through the account that the caller has."""
    found: list[Any] = [root]
    seen = {id(root)}
    for thing in found:
        kind = type(thing)  # a weak reference that is dead has no class to ask for
        if issubclass(kind, str) and secret in thing:
            return True
        if issubclass(kind, bytes | bytearray) and any(secret.encode(code) in thing for code in ("utf-8", "utf-16-le")):
            return True
        if issubclass(kind, Credentials | FunctionType | ModuleType | type | FrameType | Relay | Smbd):
            continue
        for other in gc.get_referents(thing):
            if id(other) not in seen:
                seen.add(id(other))
                found.append(other)
    return False


@pytest.mark.parametrize("attack", ["wrong password", *("swallowed", "cut", "refused", "changed")])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_frame_of_a_failed_log_on_holds_the_password(smbd: Smbd, number: int, attack: str) -> None:
    """Programs report errors with the locals of every frame."""
    answers = itertools.count(1)

    def fail(frame: Frame) -> Verdict | bytes:
        if frame.from_client or attack == "wrong password" or next(answers) != number:
            return Verdict.PASS
        others = {"refused": frame.answered(0xC0000034), "changed": frame.data[:-1] + bytes([frame.data[-1] ^ 1])}
        return others.get(attack, Verdict.CUT if attack == "cut" else Verdict.SWALLOW)

    password = SECRET if attack == "wrong password" else smbd.password
    with Relay(smbd.port) as relay, SmbPool() as pool:
        relay.rule = fail
        with pytest.raises((OSError, Error)) as caught:
            pool.share(
                "127.0.0.1", "share", port=relay.port, credentials=Credentials(smbd.user, password), settings=QUICK
            )
        where = [
            f"{frame.f_code.co_qualname}: {name}"
            for frame in frames_of(caught.value)
            for name, value in frame.f_locals.items()
            if holds(value, password)
        ]
    assert where == []


def test_no_connection_holds_the_password(smbd: Smbd, share_directory: Path) -> None:
    with SmbPool() as pool:
        files = connect(smbd, pool, share_directory)
        assert not holds(files._connect(), smbd.password)


def test_a_wrong_password_names_server_and_account_and_never_the_password(
    smbd: Smbd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = refusal(smbd.port, Credentials(smbd.user, SECRET), PermissionError)
    assert str(smbd.port) in str(error)
    assert smbd.user in str(error)
    assert SECRET not in everything_told(error)
    assert SECRET not in caplog.text


def test_a_right_password_is_logged_nowhere_either(
    smbd: Smbd, caplog: pytest.LogCaptureFixture, share_directory: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    with SmbPool() as pool:
        files = connect(smbd, pool, share_directory)
        storage = files.create("file")
        assert smbd.password not in caplog.text + repr(pool) + repr(vars(pool)) + repr(files) + repr(storage)
        storage.close()


def test_credentials_show_no_password() -> None:
    account = Credentials("user", SECRET, "DOMAIN")
    assert SECRET not in repr(account) + str(account)
    assert account.account == "DOMAIN\\user"


@pytest.mark.parametrize(
    "account", [Credentials("nobody-at-all", SECRET), Credentials("", "")], ids=["unknown", "empty"]
)
def test_an_account_that_is_not_there(smbd: Smbd, account: Credentials) -> None:
    assert SECRET not in everything_told(refusal(smbd.port, account, PermissionError))


def test_a_share_that_is_not_there(smbd: Smbd) -> None:
    error = refusal(smbd.port, Credentials(smbd.user, smbd.password), FileNotFoundError)
    assert str(error).endswith(f"'smb://127.0.0.1:{smbd.port}/share'")


def test_a_share_that_the_account_may_not_use(smbd: Smbd, smb_pool: SmbPool, share_directory: Path) -> None:
    with pytest.raises(PermissionError, match="denies"):
        connect(smbd, smb_pool, share_directory, f"invalid users = {smbd.user}")


def test_a_share_for_reading_alone(smbd: Smbd, smb_pool: SmbPool, share_directory: Path) -> None:
    (share_directory / "file").write_bytes(b"content")
    files = connect(smbd, smb_pool, share_directory, "read only = yes")
    with pytest.raises(PermissionError, match="file"):
        files.open("file", Access.WRITE)
    with pytest.raises(PermissionError, match="new"):
        files.create("new")
    storage = files.open("file", Access.READ)
    assert pread(storage, 0, 7) == b"content"
    storage.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refusal(port, Credentials("user", SECRET), ConnectionError)
    assert "refused" in str(error)
    assert str(port) in str(error)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, ""], ids=["unknown", "long", "empty"])
def test_a_host_that_has_no_address(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert host in str(refusal(port, Credentials("user", SECRET), ConnectionError, host))


def test_a_server_that_never_answers(silent: int) -> None:
    before = threading.active_count()
    assert str(silent) in str(refusal(silent, Credentials("user", SECRET), ConnectionError))
    assert threading.active_count() == before


def test_a_server_that_is_not_smb() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(b"220 mail.example ESMTP\r\n" * 10)
                client.recv(1 << 16)

        thread = threading.Thread(target=greet)
        thread.start()
        refusal(listener.getsockname()[1], Credentials("user", SECRET), ConnectionError)
        thread.join()


@pytest.mark.parametrize("verdict", [Verdict.SWALLOW, Verdict.CUT])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_server_that_falls_silent_during_the_log_on(smbd: Smbd, number: int, verdict: Verdict) -> None:
    before = threading.active_count()
    answers = 0

    def fall_silent(frame: Frame) -> Verdict:
        nonlocal answers
        answers += not frame.from_client
        return verdict if answers >= number and not frame.from_client else Verdict.PASS

    with Relay(smbd.port) as relay:
        relay.rule = fall_silent
        refusal(relay.port, Credentials(smbd.user, smbd.password), ConnectionError)
    assert threading.active_count() == before


@pytest.mark.parametrize("newest", ["SMB3_00", "SMB3_02", "SMB3_11"])
@pytest.mark.parametrize("encrypt", [False, True], ids=["signed", "encrypted"])
def test_every_dialect_from_3_0_on(newest: str, encrypt: bool, own_smbd: Smbd, share_directory: Path) -> None:
    own_smbd.configure(f"server max protocol = {newest}")
    with SmbPool() as pool:
        files = connect(own_smbd, pool, share_directory, settings=SmbSettings(timeout=6, encrypt=encrypt))
        storage = files.create("file")
        data = bytes(range(256)) * 5000
        pwrite(storage, 3, data)
        assert pread(storage, 3, len(data)) == data
        storage.close()


def test_an_older_server_is_refused(own_smbd: Smbd) -> None:
    own_smbd.configure("server min protocol = SMB2_02\nserver max protocol = SMB2_10")
    assert "SMB 3" in str(refusal(own_smbd.port, Credentials(own_smbd.user, own_smbd.password), UnsupportedFeature))


def test_a_server_that_cannot_encrypt(own_smbd: Smbd, share_directory: Path) -> None:
    own_smbd.configure("smb encrypt = off")
    with SmbPool() as pool, pytest.raises((Error, OSError)) as caught:
        connect(own_smbd, pool, share_directory, settings=SmbSettings(timeout=6, encrypt=True))
    assert "encrypt" in str(caught.value) or "denies" in str(caught.value)


def test_names_of_servers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with SmbPool() as pool, pytest.raises(ConnectionError, match=r"smb://\[::1\]:"):
        pool.share("::1", "share", port=port, credentials=Credentials("user", SECRET), settings=QUICK)
