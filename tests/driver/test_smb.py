"""Volumes on a real server: from the list of shares to intents that the server itself keeps others from opening."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smbfs_driver.shares.connections import ShareConnections, by_smb
from smbfs_driver.shares.shares import Share, load
from smbfs_driver.volumes import journal
from smbfs_driver.volumes.journal import Recovery
from smbfs_driver.volumes.journal import VolumeOperation as Held
from smbfs_driver.volumes.names import VolumeNames
from smbfs_driver.volumes.shape import DYNAMIC_VHDX
from smbfs_driver.volumes.steps import Remove
from smbfs_driver.volumes.volumes import Volumes
from smbfs_driver.worker.backend import Backend
from tests.conftest import patiently
from tests.driver.kits import SIZE, VOLUME, A, B, Bench
from tests.support.relay import Frame, Relay, Verdict, everything
from tests.support.smbd import Smbd, unavailable
from tests.support.wrappers import Operation, WatchedFileSystem
from vhdx.errors import InUse
from vhdx.storage.base import Access, FileSystem, Storage
from vhdx.storage.credentials import Credentials
from vhdx.storage.smb import SmbPool

pytestmark = pytest.mark.smb


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Smbd]:
    """A server of this test's own, with one share."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    directory = tmp_path / "share"
    directory.mkdir()
    with Smbd() as running:
        running.add_share("volumes", directory)
        yield running


@pytest.fixture
def pools() -> Iterator[list[SmbPool]]:
    """Two, as two processes would have them."""
    with SmbPool() as first, SmbPool() as second:
        yield [first, second]


def connections(
    server: Smbd, pool: SmbPool, directory: Path, share: str = "volumes", extra: str = ""
) -> ShareConnections:
    listing = directory / "shares"
    log_on = f"username={server.user},password={server.password}{extra}"
    listing.write_text(f"//{server.host}/{share} -o {log_on},port={server.port}\n")
    listing.chmod(0o600)
    return ShareConnections(load(listing), by_smb(pool))


def reach(server: Smbd, pool: SmbPool, directory: Path, extra: str = "") -> FileSystem:
    found = connections(server, pool, directory, extra=extra)
    return found.files(found.shares[0])


@pytest.mark.parametrize("extra", ["", ",seal"], ids=["signed", "encrypted"])
def test_a_volume_lives_on_a_share(server: Smbd, pools: list[SmbPool], tmp_path: Path, extra: str) -> None:
    bench = Bench.on(reach(server, pools[0], tmp_path, extra), "native")
    bench.volumes.create(VOLUME, SIZE)
    for number, snapshot in enumerate((A, B), start=1):
        bench.volumes.create_snapshot(VOLUME, snapshot)
        bench.write(number, number)
    content = bench.content()
    assert content == {-1: SIZE, 1: 1, 2: 2}
    bench.volumes.delete_snapshot(VOLUME, A)
    bench.volumes.delete_snapshot(VOLUME, B)
    assert bench.content() == content
    assert bench.strays() == set()
    bench.volumes.delete(VOLUME)
    assert list((tmp_path / "share").iterdir()) == []


def test_capacity_is_the_servers(server: Smbd, pools: list[SmbPool], tmp_path: Path) -> None:
    found = connections(server, pools[0], tmp_path)
    space = found.capacity(found.shares[0])
    assert 0 < space.free <= space.total


def test_a_wrong_password_is_not_told(server: Smbd, pools: list[SmbPool], tmp_path: Path) -> None:
    server.password, right = "Tr0ub4dor", server.password
    found = connections(server, pools[0], tmp_path)
    server.password = right
    with pytest.raises(PermissionError) as caught:
        found.files(found.shares[0])
    assert "Tr0ub4dor" not in str(caught.value)


def test_a_share_that_is_not_there_is_named(server: Smbd, pools: list[SmbPool], tmp_path: Path) -> None:
    found = connections(server, pools[0], tmp_path, share="nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        found.files(found.shares[0])


def test_who_recovers_leaves_alone_what_another_client_does(server: Smbd, pools: list[SmbPool], tmp_path: Path) -> None:
    other = Bench.on(reach(server, pools[1], tmp_path), "native", start=1 << 16)
    reports: list[Recovery] = []

    def meanwhile(operation: Operation) -> None:
        if operation.kind == "write" and operation.name.endswith(".vhdx") and not reports:
            reports.append(other.volumes.recover())
            with pytest.raises(InUse):
                other.volumes.extend(VOLUME, 2 * SIZE)

    inner = reach(server, pools[0], tmp_path)
    bench = Bench.on(inner, "native")
    bench.volumes.create(VOLUME, SIZE)
    bench.volumes.create_snapshot(VOLUME, A)
    bench.write(1, 1)
    Bench.on(WatchedFileSystem(inner, meanwhile), "native", start=1 << 17).volumes.delete_snapshot(VOLUME, A)
    assert [report.running for report in reports] == [[VOLUME]]
    assert bench.content() == {-1: SIZE, 1: 1}
    assert bench.strays() == set()


@pytest.mark.parametrize("at", [3, 6, 9])
def test_an_operation_that_loses_its_server_is_finished_later(
    server: Smbd, pools: list[SmbPool], tmp_path: Path, at: int
) -> None:
    inner = reach(server, pools[0], tmp_path)
    bench = Bench.on(inner, "native")
    bench.volumes.create(VOLUME, SIZE)
    bench.volumes.create_snapshot(VOLUME, A)
    bench.write(1, 1)
    changes = 0

    def fall(operation: Operation) -> None:
        nonlocal changes
        changes += operation.kind in ("write", "rename", "remove")
        if changes == at:
            changes += 1
            server.kill()
            server.restart()

    volumes = Volumes(WatchedFileSystem(inner, fall), bench.kit.engine)
    with pytest.raises(OSError):
        volumes.delete_snapshot(VOLUME, A)
    assert changes > at
    report = bench.volumes.recover()
    assert report.settled == [VOLUME]
    assert set(bench.picture() or {}) == {"active"}
    assert bench.content() == {-1: SIZE, 1: 1}
    assert bench.strays() == set()


def test_who_looks_into_every_file_of_a_share_makes_no_operation_fail(
    server: Smbd, pools: list[SmbPool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest's program looks for children of its disk in all files; so intents, too, are removed under its eyes."""
    inner = reach(server, pools[0], tmp_path)
    others = reach(server, pools[1], tmp_path)
    seen: list[Storage] = []

    def look(operation: Operation) -> None:
        if operation.kind == "remove":
            seen.append(others.open(operation.name, Access.INSPECT))

    def tire(_: float) -> None:
        while seen:
            seen.pop().close()

    volumes = Bench.on(WatchedFileSystem(inner, look), "native").volumes
    monkeypatch.setattr(time, "sleep", tire)
    volumes.create(VOLUME, SIZE)
    volumes.create_snapshot(VOLUME, A)
    assert volumes.active(VOLUME) == VolumeNames(VOLUME).snapshot(A)
    volumes.create_snapshot(VOLUME, B)
    volumes.delete_snapshot(VOLUME, A)
    volumes.delete_snapshot(VOLUME, B)
    volumes.delete(VOLUME)
    tire(0)
    assert inner.list("") == []


GOES_ON: dict[str, Callable[[Held], None]] = {
    "another step": lambda held: held.carry_out([Remove(VolumeNames(VOLUME).base)]),
    "a look whether it is still held": Held.check,
}


@pytest.mark.parametrize("goes_on", GOES_ON.values(), ids=GOES_ON)
def test_who_lost_a_volume_with_the_connection_hears_of_it_before_going_on(
    server: Smbd, pools: list[SmbPool], tmp_path: Path, goes_on: Callable[[Held], None]
) -> None:
    bench = Bench.on(reach(server, pools[0], tmp_path), "native")
    bench.volumes.create(VOLUME, SIZE)
    other = Bench.on(reach(server, pools[1], tmp_path), "native", start=1 << 16)
    with (
        pytest.raises(ConnectionError),
        journal.operation(VolumeNames(VOLUME), bench.volumes.shelf.site) as held,
    ):
        server.kill()
        server.restart()
        # Whoever comes now may have the volume, and the next file is opened over a connection that works.
        assert other.volumes.recover().settled == [VOLUME]
        with pytest.raises(ConnectionError):
            goes_on(held)
        raise ConnectionError
    assert other.picture() == {"active": {-1: SIZE}}


MISLEADING = {
    "no such file": 0xC0000034,
    "no such share": 0xC00000CC,
    "exists": 0xC0000035,
    "in use": 0xC0000043,
    "full": 0xC000007F,
    "end of file": 0xC0000011,
}


@pytest.mark.parametrize("status", MISLEADING.values(), ids=list(MISLEADING))
@pytest.mark.parametrize("command", [0, 1], ids=["negotiation", "log-on"])
def test_what_nobody_signed_at_a_reconnect_says_nothing_about_a_volume(
    server: Smbd, pools: list[SmbPool], tmp_path: Path, command: int, status: int
) -> None:
    """Cinder takes a volume that is not there for one that is deleted."""
    with Relay(server.port) as relay:
        share = Share(server.host, "volumes", Credentials(server.user, server.password), relay.port)
        backend = Backend([share], by_smb(pools[0]))
        patiently(lambda: backend.capacity(share.address))
        backend.create(share.address, VOLUME, SIZE, DYNAMIC_VHDX)
        refused = False

        def refuse(frame: Frame) -> Verdict | bytes:
            nonlocal refused
            if not refused:
                refused = True
                return Verdict.CUT
            is_answer = frame.command == command and not frame.from_client
            return frame.answered(status) if is_answer else Verdict.PASS

        for operation in (Backend.exists, Backend.delete, Backend.kept, Backend.recover):
            relay.rule, refused = refuse, False
            for _ in range(2):  # the first loses the connection
                with pytest.raises(ConnectionError):
                    operation(backend, share.address, VOLUME)
        relay.rule = everything
        assert backend.exists(share.address, VOLUME)
        backend.delete(share.address, VOLUME)
        assert not backend.exists(share.address, VOLUME)
