"""A process killed in the middle of deleting a snapshot: whoever recovers finds every disk right, and no strays."""

import multiprocessing
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from smbfs_driver.volumes.volumes import Volumes
from tests.driver.kits import VOLUME, A, B, telling_ids
from tests.driver.victim import Address, delete_snapshot
from tests.support.choice import Points, points
from tests.support.smbd import Smbd
from tests.support.wrappers import DATA_CHANGES, NAME_CHANGES
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import Credentials, SmbPool
from vhdx.verbs.engine import NativeEngine

MIB = 1 << 20
SIZE = 24 * MIB
CHANGES = DATA_CHANGES | NAME_CHANGES
RANDOM_KILLS = [12, pytest.param(50, marks=pytest.mark.more)]

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.driver.victim"])


@dataclass
class Prepared:
    """A directory with a volume that has two snapshots, and what it holds."""

    directory: Path
    content: bytes

    def copy(self, to: Path) -> None:
        # The directory itself stays: a server that has it open would go on in the one that was removed.
        to.mkdir(exist_ok=True)
        for file in to.iterdir():
            file.unlink()
        subprocess.run(["cp", "-r", "--sparse=always", f"{self.directory}/.", str(to)], check=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    directory = tmp_path_factory.mktemp("prepared")
    files, engine, chance = LocalFileSystem(directory), NativeEngine(telling_ids(1)), random.Random(4)
    volumes = Volumes(files, engine, telling_ids(1 << 12))
    content = bytearray(SIZE)
    volumes.create(VOLUME, SIZE)
    for snapshot in (None, A, B):
        if snapshot:
            volumes.create_snapshot(VOLUME, snapshot)
        with closing(engine.open_chain(files, volumes.active(VOLUME), writable=1)) as chain:
            for length in [512, 4096, 100_000, 3 * MIB, 512, 70_000, MIB]:
                offset = chance.randrange(SIZE - length) // 512 * 512
                data = chance.randbytes(length)
                chain.write(offset, data)
                content[offset : offset + length] = data
            offset = chance.randrange(SIZE - 4 * MIB) // 512 * 512
            chain.zero(offset, 4 * MIB)
            content[offset : offset + 4 * MIB] = bytes(4 * MIB)
    return Prepared(directory, bytes(content))


@pytest.fixture(params=["local", pytest.param("smb", marks=pytest.mark.smb)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """A share whose directory is filled anew for each kill."""
    directory = tmp_path / "share"
    if request.param == "local":
        yield Address(str(directory))
        return
    server: Smbd = request.getfixturevalue("smbd")
    directory.mkdir()
    name = f"killed-{tmp_path.name}".replace("[", "").replace("]", "")[:60]
    server.add_share(name, directory)
    yield Address(str(directory), server.host, server.port, name, Credentials(server.user, server.password))


def recovered(files: FileSystem) -> Volumes:
    """The share set right by somebody else. A server may need a moment to notice that a client has died."""
    volumes = Volumes(files, NativeEngine(telling_ids(1 << 20)), telling_ids(1 << 21))
    deadline = time.monotonic() + 20
    while True:
        report = volumes.recover()
        assert not report.failed, report.failed
        if not report.running:
            return volumes
        assert time.monotonic() < deadline, "a dead process still holds its files"
        time.sleep(0.05)


def check(files: FileSystem, snapshot: str, content: bytes) -> None:
    """The volume holds what it held, whether or not the snapshot is gone; nothing else lies about."""
    volumes = recovered(files)
    chain = volumes.chain(VOLUME)
    with closing(NativeEngine().open_chain(files, chain[0])) as disk:
        assert disk.read(0, disk.size) == content
    assert set(files.list("")) == {*chain, f"{VOLUME}.vhdx.info"}
    assert len(chain) in (2, 3)
    if len(chain) == 3:
        volumes.delete_snapshot(VOLUME, snapshot)
        with closing(NativeEngine().open_chain(files, volumes.active(VOLUME))) as disk:
            assert disk.read(0, disk.size) == content


def told(hits: Counter[str], title: str, tell: Callable[[str], None]) -> None:
    listed = ", ".join(f"{verb} {count}" for verb, count in hits.most_common())
    tell(f"{title}: {hits.total()} kills ({listed})")


@pytest.fixture
def looking(address: Address, prepared: Prepared) -> Iterator[Callable[[], FileSystem]]:
    """The share as another process sees it, over one connection for the whole test."""
    if address.credentials is None:
        yield lambda: LocalFileSystem(address.directory)
        return
    with SmbPool() as pool:
        credentials = address.credentials
        yield lambda: pool.share(address.server, address.share, port=address.port, credentials=credentials)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("which", points(15))
@pytest.mark.parametrize("snapshot", [A, B], ids=["middle", "latest"])
def test_killed_at_each_storage_operation(
    snapshot: str,
    which: Points,
    address: Address,
    prepared: Prepared,
    looking: Callable[[], FileSystem],
    tell: Callable[[str], None],
) -> None:
    """Locally at every call; on a server at every call that changes something there."""
    kinds = CHANGES if address.credentials else frozenset()
    hits: Counter[str] = Counter()
    for at in which:
        prepared.copy(Path(address.directory))
        ours, theirs = processes.Pipe()
        victim = processes.Process(target=delete_snapshot, args=(address, VOLUME, snapshot, at, kinds, theirs))
        victim.start()
        theirs.close()
        doing = ours.recv()
        victim.join()
        if doing == "done":
            break
        hits[doing] += 1
        check(looking(), snapshot, prepared.content)
    told(hits, f"deleting the {'middle' if snapshot == A else 'latest'} snapshot", tell)
    least = 20 if which.others else 0
    assert hits["merge"] > least
    assert hits["driver"] > least // 4


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", RANDOM_KILLS)
def test_killed_at_random(
    kills: int, address: Address, prepared: Prepared, looking: Callable[[], FileSystem], tell: Callable[[str], None]
) -> None:
    chance = random.Random(kills)
    hits: Counter[str] = Counter()
    longest = 1.0  # seconds; more than one deletion takes, so the first kills may come late and teach better
    for number in range(kills):
        snapshot = (A, B)[number % 2]
        prepared.copy(Path(address.directory))
        ours, theirs = processes.Pipe()
        victim = processes.Process(target=delete_snapshot, args=(address, VOLUME, snapshot, None, frozenset(), theirs))
        victim.start()
        theirs.close()
        doing = ours.recv()
        start = time.monotonic()
        deadline = start + chance.random() * longest
        while (left := deadline - time.monotonic()) > 0 and ours.poll(left):
            try:
                doing = ours.recv()
            except EOFError:
                longest = max(time.monotonic() - start, 0.02)
                break
        victim.kill()
        victim.join()
        hits[doing] += 1
        check(looking(), snapshot, prepared.content)
    told(hits, "deleting snapshots, at random", tell)
    assert hits.total() == kills
