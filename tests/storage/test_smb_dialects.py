"""Servers pinned to one dialect each: what is spoken, what is refused, and that nobody can make it older."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import connect
from tests.support.choice import few
from tests.support.relay import Frame, Relay, Verdict
from tests.support.smbd import Smbd
from vhdx.errors import Error, UnsupportedFeature
from vhdx.storage.base import Access, Move
from vhdx.storage.dialect import Dialect
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings
from vhdx.storage.smb.connection import SmbConnection
from vhdx.storage.smb.protection import Signing
from vhdx.storage.transfer import copy, pread, pwrite

pytestmark = pytest.mark.smb

NAMES = {
    Dialect.SMB_2_0_2: "SMB2_02",
    Dialect.SMB_2_1: "SMB2_10",
    Dialect.SMB_3_0: "SMB3_00",
    Dialect.SMB_3_0_2: "SMB3_02",
    Dialect.SMB_3_1_1: "SMB3_11",
}
OLDER = [Dialect.SMB_2_0_2, Dialect.SMB_2_1]
ANY = SmbSettings(timeout=6, minimum=Dialect.SMB_2_0_2)
NEGOTIATE, SESSION_SETUP = 0, 1
SECRET = "Tr0ub4dor"


def between(minimum: Dialect, maximum: Dialect, *, encrypt: bool = False) -> SmbSettings:
    return SmbSettings(timeout=6, encrypt=encrypt, minimum=minimum, maximum=maximum)


def pin(server: Smbd, newest: Dialect, extra: str = "") -> None:
    server.configure(f"server min protocol = SMB2_02\nserver max protocol = {NAMES[newest]}\n{extra}")


@pytest.fixture
def pool() -> Iterator[SmbPool]:
    with SmbPool() as connections:
        yield connections


def connection_of(files: SmbFileSystem) -> SmbConnection:
    return files._connect()


def everything_works(files: SmbFileSystem) -> None:
    """A file's life, and a copy inside the server."""
    data = os.urandom((1 << 20) + 12345)
    storage = files.create("first")
    pwrite(storage, 3, data)
    storage.flush()
    assert pread(storage, 3, len(data)) == data
    target = files.create("second")
    copy(storage, target, [Move(3, 100, len(data))])
    target.flush()
    assert pread(target, 100, len(data)) == data
    target.truncate(200)
    assert target.size() == 200
    target.close()
    storage.close()
    files.rename("second", "first", replace=True)
    assert files.list("") == ["first"]
    assert files.stat("first").size == 200
    again = files.open("first", Access.READ)
    assert pread(again, 100, 100) == data[:100]
    again.close()
    assert files.space().free > 0
    files.remove("first")
    files.sync_directory("")
    assert files.list("") == []


@pytest.mark.parametrize("newest", Dialect)
def test_a_files_life_in_every_dialect(
    newest: Dialect, own_smbd: Smbd, pool: SmbPool, share_directory: Path
) -> None:
    pin(own_smbd, newest)
    files = connect(own_smbd, pool, share_directory, settings=ANY)
    everything_works(files)
    assert not connection_of(files).learned.without_copy
    keys = connection_of(files)._channel._protection._keys
    assert (keys.signing is Signing.HMAC_SHA256) == (newest < Dialect.SMB_3_0)
    assert (keys.cipher is None) == (newest < Dialect.SMB_3_0)


SMALL = {
    "one credit": "smb2 max credits = 1",
    "two credits": "smb2 max credits = 2",
    "small queries": "smb2 max trans = 4096",
    "small transfers": "smb2 max read = 65536\nsmb2 max write = 65536",
    "all of it": "smb2 max credits = 1\nsmb2 max trans = 4096\nsmb2 max read = 65536\nsmb2 max write = 65536",
}


@pytest.mark.parametrize("encrypt", [False, True], ids=["signed", "encrypted"])
@pytest.mark.parametrize("small", few(SMALL.values(), 2, ids=list(SMALL)))
def test_a_server_that_takes_little_at_once(
    small: str, encrypt: bool, own_smbd: Smbd, pool: SmbPool, share_directory: Path
) -> None:
    pin(own_smbd, Dialect.SMB_3_1_1, small)
    settings = between(Dialect.SMB_3_0, Dialect.SMB_3_1_1, encrypt=encrypt)
    files = connect(own_smbd, pool, share_directory, settings=settings)
    everything_works(files)
    assert not connection_of(files).learned.without_copy
    expected = {f"file {number:04} {'x' * 100}" for number in range(300)}
    for name in expected:
        (share_directory / name).touch()
    assert set(files.list("")) == expected
    assert connection_of(files).alive


@pytest.mark.parametrize("only", few(Dialect, 2))
def test_a_dialect_alone_can_be_asked_for(only: Dialect, own_smbd: Smbd, pool: SmbPool, share_directory: Path) -> None:
    pin(own_smbd, Dialect.SMB_3_1_1)
    files = connect(own_smbd, pool, share_directory, settings=between(only, only))
    storage = files.create("file")
    pwrite(storage, 0, b"content")
    storage.close()
    assert int.from_bytes(connection_of(files)._negotiation.response[-2:], "little") == only


@pytest.mark.parametrize(
    ("oldest", "newest"), [(oldest, newest) for oldest in Dialect for newest in Dialect if oldest < newest]
)
def test_the_newest_of_those_that_are_offered_is_spoken(oldest: Dialect, newest: Dialect, smbd_of_any: Smbd) -> None:
    account = Credentials(smbd_of_any.user, smbd_of_any.password)
    with SmbPool() as pool:
        files = pool.share(
            smbd_of_any.host, "IPC$", port=smbd_of_any.port, credentials=account, settings=between(oldest, newest)
        )
        assert int.from_bytes(connection_of(files)._negotiation.response[-2:], "little") == newest


@pytest.fixture(scope="module")
def smbd_of_any(smbd: Smbd) -> Iterator[Smbd]:
    """A server for all dialects."""
    with Smbd(extra="server min protocol = SMB2_02") as server:
        yield server


def test_an_old_dialect_has_small_requests(own_smbd: Smbd, pool: SmbPool, share_directory: Path) -> None:
    pin(own_smbd, Dialect.SMB_2_0_2)
    with Relay(own_smbd.port) as relay:
        files = through(relay, own_smbd, pool, share_directory, ANY)
        storage = files.create("file")
        pwrite(storage, 0, bytes(1 << 20))
        assert pread(storage, 0, 1 << 20) == bytes(1 << 20)
        storage.close()
        assert connection_of(files).request_size == 1 << 16
        assert {frame.data[6:8] for frame in relay.seen if frame.from_client} == {bytes(2)}


def through(
    relay: Relay, server: Smbd, pool: SmbPool, directory: Path, settings: SmbSettings
) -> SmbFileSystem:
    server.add_share("relayed", directory)
    account = Credentials(server.user, server.password)
    return pool.share("127.0.0.1", "relayed", port=relay.port, credentials=account, settings=settings)


@pytest.mark.parametrize("newest", OLDER)
def test_an_older_server_is_refused_unless_it_is_asked_for(newest: Dialect, own_smbd: Smbd, pool: SmbPool) -> None:
    pin(own_smbd, newest)
    account = Credentials(own_smbd.user, own_smbd.password)
    with pytest.raises(UnsupportedFeature, match=r"does not support SMB 3\.0 or newer"):
        pool.share(own_smbd.host, "share", port=own_smbd.port, credentials=account)


def test_a_newer_server_is_refused_where_only_old_ones_are_asked_for(own_smbd: Smbd, pool: SmbPool) -> None:
    account = Credentials(own_smbd.user, own_smbd.password)
    settings = between(Dialect.SMB_2_0_2, Dialect.SMB_2_1)
    with pytest.raises(UnsupportedFeature, match=r"does not support SMB 2\.0\.2 to 2\.1"):
        pool.share(own_smbd.host, "share", port=own_smbd.port, credentials=account, settings=settings)


@pytest.mark.parametrize("newest", OLDER)
def test_an_old_dialect_cannot_encrypt(newest: Dialect, own_smbd: Smbd, pool: SmbPool) -> None:
    account = Credentials(own_smbd.user, own_smbd.password)
    settings = between(Dialect.SMB_2_0_2, newest, encrypt=True)
    with pytest.raises(Error, match="does not support encryption"):
        pool.share(own_smbd.host, "share", port=own_smbd.port, credentials=account, settings=settings)
    pin(own_smbd, newest)
    settings = between(Dialect.SMB_2_0_2, Dialect.SMB_3_1_1, encrypt=True)
    with pytest.raises(UnsupportedFeature, match=r"SMB 3\.0 or newer"):
        pool.share(own_smbd.host, "share", port=own_smbd.port, credentials=account, settings=settings)


def test_bounds_that_leave_nothing_are_refused() -> None:
    with pytest.raises(Error, match=r"from SMB 3\.0 to SMB 2\.1"):
        between(Dialect.SMB_3_0, Dialect.SMB_2_1).dialects()


def offering(frame: Frame, dialects: list[Dialect]) -> bytes:
    """A request to negotiate with other dialects, none of them SMB 3.1.1."""
    body = bytearray(frame.data[:100])
    struct.pack_into("<H", body, 64 + 2, len(dialects))
    body[64 + 28 : 64 + 36] = bytes(8)
    return bytes(body) + b"".join(struct.pack("<H", dialect) for dialect in dialects)


@pytest.mark.parametrize("left", [OLDER, [Dialect.SMB_3_0], [*OLDER, Dialect.SMB_3_0_2]], ids=["2", "3.0", "3.0.2"])
def test_nobody_in_between_can_make_the_dialect_older(
    left: list[Dialect], own_smbd: Smbd, pool: SmbPool, share_directory: Path
) -> None:
    pin(own_smbd, Dialect.SMB_3_1_1)

    def meddle(frame: Frame) -> Verdict | bytes:
        if frame.from_client and frame.command == NEGOTIATE:
            return offering(frame, left)
        return Verdict.PASS

    with Relay(own_smbd.port) as relay:
        relay.rule = meddle
        with pytest.raises(ConnectionError):
            through(relay, own_smbd, pool, share_directory, ANY)


def test_a_dialect_that_was_not_offered_is_not_taken(own_smbd: Smbd, pool: SmbPool, share_directory: Path) -> None:
    pin(own_smbd, Dialect.SMB_3_1_1)

    def meddle(frame: Frame) -> Verdict | bytes:
        if frame.from_client and frame.command == NEGOTIATE:
            return offering(frame, OLDER)
        return Verdict.PASS

    with Relay(own_smbd.port) as relay:
        relay.rule = meddle
        with pytest.raises(UnsupportedFeature):
            through(relay, own_smbd, pool, share_directory, SmbSettings(timeout=6))


@pytest.mark.parametrize("newest", OLDER)
def test_an_answer_that_is_changed_is_not_believed_in_an_old_dialect(
    newest: Dialect, own_smbd: Smbd, pool: SmbPool, share_directory: Path
) -> None:
    pin(own_smbd, newest)
    (share_directory / "file").write_bytes(b"content")

    def meddle(frame: Frame) -> Verdict | bytes:
        if not frame.from_client and b"content" in frame.data:
            return frame.data.replace(b"content", b"CONTENT")
        return Verdict.PASS

    with Relay(own_smbd.port) as relay:
        files = through(relay, own_smbd, pool, share_directory, ANY)
        relay.rule = meddle
        storage = files.open("file", Access.READ)
        with pytest.raises(ConnectionError, match="signature of a response is invalid"):
            pread(storage, 0, 7)
        storage.close()


GUESTS = "map to guest = bad user"


def as_guest(server: Smbd, pool: SmbPool, directory: Path, extra: str = "guest ok = yes") -> SmbFileSystem:
    directory.chmod(0o777)
    server.add_share("open", directory, f"{extra}\nforce user = {server.user}")
    return pool.share(
        server.host, "open", port=server.port, credentials=Credentials.of_guest(), settings=SmbSettings(timeout=6)
    )


@pytest.mark.parametrize("newest", few(Dialect, 2))
def test_a_guest_is_let_in_where_guests_are(
    newest: Dialect, own_smbd: Smbd, pool: SmbPool, share_directory: Path
) -> None:
    pin(own_smbd, newest, GUESTS)
    account = Credentials.of_guest()
    share_directory.chmod(0o777)
    own_smbd.add_share("open", share_directory, f"guest ok = yes\nforce user = {own_smbd.user}")
    everything_works(pool.share(own_smbd.host, "open", port=own_smbd.port, credentials=account, settings=ANY))


def test_a_guest_cannot_know_that_there_is_no_such_share(own_smbd: Smbd, pool: SmbPool) -> None:
    """Nobody signs that for a guest."""
    own_smbd.configure(GUESTS)
    with pytest.raises(ConnectionError, match="the share does not exist"):
        pool.share(own_smbd.host, "nothing", port=own_smbd.port, credentials=Credentials.of_guest())


def test_a_guest_is_refused_where_there_are_none(own_smbd: Smbd, pool: SmbPool, share_directory: Path) -> None:
    with pytest.raises(PermissionError):
        as_guest(own_smbd, pool, share_directory)
    own_smbd.configure(GUESTS)
    with pytest.raises(PermissionError):
        as_guest(own_smbd, pool, share_directory, "guest ok = no")


def test_a_guest_is_refused_where_signatures_are_wanted(own_smbd: Smbd, pool: SmbPool, share_directory: Path) -> None:
    own_smbd.configure(f"{GUESTS}\nserver signing = mandatory")
    with pytest.raises(PermissionError, match="a guest session has no keys"):
        as_guest(own_smbd, pool, share_directory)


def test_a_guest_cannot_encrypt(own_smbd: Smbd, pool: SmbPool) -> None:
    settings = SmbSettings(encrypt=True)
    with pytest.raises(Error, match="a guest session cannot be encrypted"):
        pool.share(own_smbd.host, "x", port=own_smbd.port, credentials=Credentials.of_guest(), settings=settings)


@pytest.mark.parametrize("newest", few(Dialect, 2))
def test_who_has_a_password_never_ends_as_a_guest(
    newest: Dialect, own_smbd: Smbd, pool: SmbPool, share_directory: Path
) -> None:
    pin(own_smbd, newest, "map to guest = bad password")
    own_smbd.add_share("open", share_directory, "guest ok = yes")
    for account in (Credentials("nobody-at-all", SECRET), Credentials(own_smbd.user, SECRET)):
        with pytest.raises(PermissionError, match="unprotected") as caught:
            pool.share(own_smbd.host, "open", port=own_smbd.port, credentials=account, settings=ANY)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("newest", few(Dialect, 2))
def test_nobody_in_between_can_make_a_guest_of_who_has_a_password(
    newest: Dialect, own_smbd: Smbd, pool: SmbPool, share_directory: Path
) -> None:
    pin(own_smbd, newest, GUESTS)
    after: list[Frame] = []

    def meddle(frame: Frame) -> Verdict | bytes:
        if not frame.from_client and frame.command == SESSION_SETUP and not frame.status:
            return frame.data[:66] + b"\x01\x00" + frame.data[68:]
        if frame.from_client and frame.command not in (NEGOTIATE, SESSION_SETUP):
            after.append(frame)
        return Verdict.PASS

    with Relay(own_smbd.port) as relay:
        relay.rule = meddle
        with pytest.raises(PermissionError, match="unprotected"):
            through(relay, own_smbd, pool, share_directory, ANY)
    assert after == []


@pytest.mark.parametrize("oldest", few(Dialect, 2))
def test_what_is_offered_is_aligned(oldest: Dialect, own_smbd: Smbd, pool: SmbPool, share_directory: Path) -> None:
    requests: list[Frame] = []

    def watch(frame: Frame) -> Verdict:
        if frame.from_client and frame.command == NEGOTIATE:
            requests.append(frame)
        return Verdict.PASS

    with Relay(own_smbd.port) as relay:
        relay.rule = watch
        through(relay, own_smbd, pool, share_directory, SmbSettings(timeout=6, minimum=oldest))
    (request,) = requests
    offset, count = struct.unpack_from("<IH", request.data, 64 + 28)
    assert offset % 8 == 0
    assert offset >= 64 + 36 + 2 * sum(dialect >= oldest for dialect in Dialect)
    assert count == 4


def test_answers_without_signatures_are_a_guests_only(
    own_smbd: Smbd, pool: SmbPool, share_directory: Path
) -> None:
    own_smbd.configure(GUESTS)
    guests = as_guest(own_smbd, pool, share_directory)
    own = pool.share(
        own_smbd.host, "open", port=own_smbd.port, credentials=Credentials(own_smbd.user, own_smbd.password)
    )
    assert not connection_of(guests)._channel._protection.signs
    assert connection_of(own)._channel._protection.signs
