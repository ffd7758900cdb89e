"""A volume's life on real servers: every way to log on and every dialect that the list of shares can ask for."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smbfs_driver.shares import samba_config, shares
from smbfs_driver.shares.connections import by_smb
from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.worker.backend import Backend
from smbfs_driver.worker.worker import Worker
from tests.driver.fake_engine import SECTOR
from tests.driver.kits import SIZE, VOLUME, A, B
from tests.support import kdc
from tests.support.kdc import REALM, Kdc
from tests.support.smbd import Smbd, unavailable
from vhdx.errors import Error
from vhdx.storage.dialect import Dialect
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import SmbPool
from vhdx.verbs.engine import NativeEngine

pytestmark = pytest.mark.smb

PASSWORD = "Tr0ub4dor"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the files of the share lie."""
    found = tmp_path / "share"
    found.mkdir()
    return found


@pytest.fixture
def server(directory: Path) -> Iterator[Smbd]:
    """A server with one share."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with Smbd() as running:
        running.add_share("volumes", directory)
        yield running


@pytest.fixture
def pool() -> Iterator[SmbPool]:
    with SmbPool() as connections:
        yield connections


def listed(server: Smbd, directory: Path, options: str, *, host: str = "127.0.0.1", samba: str | None = None) -> Share:
    """The share as a list has it, with a Samba file beside it."""
    listing = directory / "shares"
    listing.write_text(f"//{host}/volumes -o {options},port={server.port}\n")
    listing.chmod(0o600)
    if samba is None:
        return shares.load(listing)[0]
    (directory / "smb.conf").write_text(f"[global]\n{samba}\n")
    return shares.load(listing, samba_config.load(directory / "smb.conf"))[0]


def account(server: Smbd) -> str:
    return f"username={server.user},password={server.password}"


def lives(share: Share, pool: SmbPool, directory: Path) -> None:
    """A volume is made, written to between two snapshots, which are deleted, and deleted itself."""
    backend, at = Backend([share], by_smb(pool)), share.address
    backend.create(at, VOLUME, SIZE, Shape())
    for number, snapshot in enumerate((A, B), start=1):
        backend.create_snapshot(at, VOLUME, snapshot)
        write(directory, backend.active(at, VOLUME), number)
    backend.delete_snapshot(at, VOLUME, A)
    backend.delete_snapshot(at, VOLUME, B)
    active = backend.active(at, VOLUME)
    assert sorted(path.name for path in directory.iterdir()) == [active, f"{active}.info"]
    with closing(NativeEngine().open_chain(LocalFileSystem(directory), active)) as chain:
        expected = bytes(SECTOR) + bytes([1]) * SECTOR + bytes([2]) * SECTOR + bytes(SIZE - 3 * SECTOR)
        assert chain.read(0, chain.size) == expected
    assert backend.capacity(at).free > 0
    backend.delete(at, VOLUME)
    assert list(directory.iterdir()) == []


def write(directory: Path, name: str, number: int) -> None:
    """Fill a sector, as the volume's guest."""
    engine, files = NativeEngine(), LocalFileSystem(directory)
    with closing(engine.open_chain(files, name, writable=1, orphan=True)) as chain:
        chain.write(number * SECTOR, bytes([number]) * SECTOR)


PINNED = {"2.0": "SMB2_02", "2.1": "SMB2_10", "3.0": "SMB3_00", "3.0.2": "SMB3_02", "3.1.1": "SMB3_11"}


@pytest.mark.parametrize("version", PINNED)
def test_a_volume_lives_in_every_dialect(
    version: str, server: Smbd, pool: SmbPool, directory: Path, tmp_path: Path
) -> None:
    server.configure(f"server min protocol = SMB2_02\nserver max protocol = {PINNED[version]}")
    lives(listed(server, tmp_path, f"{account(server)},vers={version}"), pool, directory)


def test_a_samba_file_allows_an_older_dialect(server: Smbd, pool: SmbPool, directory: Path, tmp_path: Path) -> None:
    server.configure("server min protocol = SMB2_02\nserver max protocol = SMB2_10")
    share = listed(server, tmp_path, account(server), samba="client min protocol = SMB2_02")
    assert (share.minimum, share.maximum) == (Dialect.SMB_2_0_2, Dialect.SMB_3_1_1)
    lives(share, pool, directory)


@pytest.mark.parametrize("options", ["sec=ntlmssp", "seal", "sec=ntlmssp,seal,vers=3.0", "sign,vers=3"])
def test_a_volume_lives_through_every_kind_of_protection(
    options: str, server: Smbd, pool: SmbPool, directory: Path, tmp_path: Path
) -> None:
    lives(listed(server, tmp_path, f"{account(server)},{options}"), pool, directory)


def test_a_volume_lives_on_the_share_of_a_guest(server: Smbd, pool: SmbPool, directory: Path, tmp_path: Path) -> None:
    server.configure("map to guest = bad user")
    directory.chmod(0o777)
    server.add_share("volumes", directory, f"guest ok = yes\nforce user = {server.user}")
    lives(listed(server, tmp_path, "guest"), pool, directory)


def test_a_wrong_account_does_not_become_a_guest(
    server: Smbd, pool: SmbPool, directory: Path, tmp_path: Path
) -> None:
    server.configure("map to guest = bad password")
    server.add_share("volumes", directory, "guest ok = yes")
    share = listed(server, tmp_path, f"username={server.user},password={PASSWORD}")
    with pytest.raises(PermissionError, match="unprotected") as caught:
        Backend([share], by_smb(pool)).capacity(share.address)
    assert PASSWORD not in str(caught.value)


def test_an_older_server_is_refused_unless_it_is_asked_for(server: Smbd, pool: SmbPool, tmp_path: Path) -> None:
    server.configure("server min protocol = SMB2_02\nserver max protocol = SMB2_10")
    share = listed(server, tmp_path, account(server))
    with pytest.raises(Error, match=r"does not support SMB 3\.0 or newer"):
        Backend([share], by_smb(pool)).capacity(share.address)


# Kerberos.


@pytest.fixture
def realm() -> Iterator[Kdc]:
    """A KDC of this test's own."""
    reason = kdc.unavailable() or unavailable()
    if reason:
        pytest.skip(reason)
    with Kdc() as running:
        yield running


@pytest.fixture
def member(realm: Kdc, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Smbd]:
    """A server of the realm, whose user has a password there; no ticket is there yet."""
    keytab, cache = tmp_path / "keytab", tmp_path / "tickets"
    realm.add_service("cifs/localhost", keytab)
    extra = f"realm = {REALM}\nkerberos method = dedicated keytab\ndedicated keytab file = FILE:{keytab}"
    with Smbd(extra=extra, environment=realm.environment) as running:
        running.add_share("volumes", directory)
        realm.add_user(running.user, PASSWORD)
        for name, value in realm.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{cache}")
        yield running


@pytest.fixture
def ticket(realm: Kdc, member: Smbd, tmp_path: Path) -> Path:
    """A ticket of the user's, for an hour."""
    realm.fetch_ticket(member.user, PASSWORD, tmp_path / "tickets")
    return tmp_path / "tickets"


@pytest.mark.parametrize("options", ["sec=krb5", "sec=krb5i,seal", "sec=krb5,username={user}", "sec=krb5,vers=2.1"])
def test_a_volume_lives_by_a_ticket(
    options: str, member: Smbd, ticket: Path, pool: SmbPool, directory: Path, tmp_path: Path
) -> None:
    member.configure(f"{member.extra}\nserver min protocol = SMB2_02")
    lives(listed(member, tmp_path, options.format(user=member.user), host="localhost"), pool, directory)


def test_a_ticket_is_fetched_with_a_password(member: Smbd, pool: SmbPool, directory: Path, tmp_path: Path) -> None:
    options = f"sec=krb5,username={member.user},password={PASSWORD}"
    lives(listed(member, tmp_path, options, host="localhost"), pool, directory)


def test_a_samba_file_says_realm_and_kerberos(
    member: Smbd, ticket: Path, pool: SmbPool, directory: Path, tmp_path: Path
) -> None:
    samba = f"realm = {REALM.lower()}\nclient use kerberos = required"
    share = listed(member, tmp_path, f"username={member.user}", host="localhost", samba=samba)
    assert share.credentials.username == f"{member.user}@{REALM}"
    lives(share, pool, directory)


def test_the_worker_has_the_ticket_too(member: Smbd, ticket: Path, tmp_path: Path) -> None:
    share = listed(member, tmp_path, "sec=krb5", host="localhost")
    with closing(Worker([share])) as worker:
        assert worker.call(Backend.capacity, share.address).total > 0


def refusal(share: Share, pool: SmbPool) -> str:
    with pytest.raises(PermissionError) as caught:
        Backend([share], by_smb(pool)).capacity(share.address)
    assert PASSWORD not in str(caught.value)
    assert f"smb://{share.server}:{share.port}" in str(caught.value)
    return str(caught.value)


def test_no_ticket_is_told(member: Smbd, pool: SmbPool, tmp_path: Path) -> None:
    told = refusal(listed(member, tmp_path, "sec=krb5", host="localhost"), pool)
    assert "no Kerberos ticket that can be used" in told
    assert str(tmp_path / "tickets") in told


def test_the_ticket_of_somebody_else_is_not_taken(member: Smbd, ticket: Path, pool: SmbPool, tmp_path: Path) -> None:
    told = refusal(listed(member, tmp_path, "sec=krb5,username=somebody", host="localhost"), pool)
    assert f"somebody@{REALM}" in told


def test_a_ticket_that_has_expired_is_told(
    realm: Kdc, member: Smbd, pool: SmbPool, tmp_path: Path
) -> None:
    realm.fetch_ticket(member.user, PASSWORD, tmp_path / "tickets", lifetime="1s")
    while realm.holds_ticket(tmp_path / "tickets"):
        time.sleep(0.1)
    assert "expired" in refusal(listed(member, tmp_path, "sec=krb5", host="localhost"), pool)


def test_a_server_that_the_realm_does_not_know_is_told(
    member: Smbd, ticket: Path, pool: SmbPool, tmp_path: Path
) -> None:
    assert "not found in Kerberos database" in refusal(listed(member, tmp_path, "sec=krb5"), pool)


def test_a_wrong_password_for_a_ticket_is_not_told(member: Smbd, pool: SmbPool, tmp_path: Path) -> None:
    wrong = listed(member, tmp_path, f"sec=krb5,username={member.user},password=N0t{PASSWORD}", host="localhost")
    assert "cannot be used to log on" in refusal(wrong, pool)


def test_without_kerberos_installed_that_is_told(server: Smbd, pool: SmbPool, tmp_path: Path) -> None:
    if not kdc.missing_modules():
        pytest.skip("Kerberos is installed")
    share = listed(server, tmp_path, "sec=krb5")
    with pytest.raises(Error, match=r"vhdx\[kerberos\]"):
        Backend([share], by_smb(pool)).capacity(share.address)
