"""How much operations on volumes ask of a server: counted, so that it stays little, and whatever else it holds."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes.names import VolumeNames
from tests.conftest import connect
from tests.driver.traffic import Counted, snapshot, volume
from tests.storage.test_smb_traffic import behind
from tests.support.relay import Relay
from tests.support.smbd import Smbd
from tests.support.wrappers import Tally, watched
from vhdx.image.base import ImageFormat
from vhdx.image.open import open_image
from vhdx.storage.base import Access
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings
from vhdx.storage.smb.messages import Command

pytestmark = pytest.mark.smb

KIB = 1 << 10
REQUESTS = {"create": 25, "create_snapshot": 40, "clone": 60, "delete": 30, "extend": 40, "revert": 45}
"""The most requests of an operation on a volume without snapshots; a revert needs one."""

DELETION, DELETION_RECEIVES = 95, 700 * KIB
LAYER, LAYER_RECEIVES = 8, 80 * KIB
"""Requests and bytes for the deletion of the latest snapshot of one, and for every layer more under it."""

LINKED = 40
"""Requests more for a snapshot that is not the latest: the layer above is linked to the one that stays."""

OTHERS = 2000
PADDING = 32
"""Bytes by which two listings of the same length may differ."""


GUIDE = Path(__file__).parents[2] / "docs" / "operator" / "guide.md"
MANY_VOLUMES = re.compile(
    r"^#### Many volumes on one share\n.*?^```ini\n\[volumes\]\n(.*?)^```", re.MULTILINE | re.DOTALL
)


@pytest.fixture
def counted(smbd: Smbd, smb_files: SmbFileSystem) -> Iterator[Counted]:
    yield from _counted(smbd, smb_files)


@pytest.fixture
def counted_as_advised(smbd: Smbd, smb_pool: SmbPool, share_directory: Path) -> Iterator[Counted]:
    """On a share with the lines that the guide has for many volumes."""
    lines = MANY_VOLUMES.search(GUIDE.read_text())
    assert lines is not None
    yield from _counted(smbd, connect(smbd, smb_pool, share_directory, lines[1]))


def _counted(smbd: Smbd, smb_files: SmbFileSystem) -> Iterator[Counted]:
    name = smb_files.name.rpartition("/")[2]
    with Relay(smbd.port) as relay, SmbPool() as pool:
        files = behind(relay, smbd, pool, name, SmbSettings())
        share = Share(smbd.host, name, Credentials(smbd.user, smbd.password), relay.port)
        counted = Counted(files, share, relay)
        # The first operation of a connection opens the share's root, which stays open.
        counted.create(1)
        yield counted


def test_operations_need_few_requests(counted: Counted, tell: Callable[[str], None]) -> None:
    counts = counted.operations(10)
    told = ", ".join(f"{name} {count.total}" for name, count in counts.items())
    tell(f"requests of operations on volumes: {told}")
    assert {name: count.total for name, count in counts.items() if count.total > REQUESTS.get(name, DELETION)} == {}


def test_an_operation_lists_names_at_most_once(counted: Counted) -> None:
    """For a listing a server reads all names that are there, however few it sends."""
    counts = counted.operations(10)
    assert {name: count.listings for name, count in counts.items() if len(count.listings) > 1} == {}
    assert any(count.listings for count in counts.values())


def test_what_the_guide_advises_for_many_volumes_works(counted_as_advised: Counted, share_directory: Path) -> None:
    counts = counted_as_advised.operations(10)
    assert {name: count.total for name, count in counts.items() if count.total > REQUESTS.get(name, DELETION)} == {}
    assert sorted(path.suffix for path in share_directory.glob(f"{volume(10)}*")) == [".info", ".vhdx"]
    assert not list(share_directory.glob(f"{volume(11)}*"))


@pytest.mark.parametrize("layers", [1, 3, 8])
def test_the_deletion_of_the_latest_snapshot(
    counted: Counted, layers: int, tell: Callable[[str], None]
) -> None:
    counted.with_snapshots(20, layers)
    count = counted.count(
        lambda: counted.backend.delete_snapshot(counted.address, volume(20), snapshot(layers - 1))
    )
    tell(f"deleting the latest of {layers} snapshots: {count.total} requests, {count.received // KIB} KiB received")
    assert count.total <= DELETION + LAYER * (layers - 1)
    assert count.received <= DELETION_RECEIVES + LAYER_RECEIVES * (layers - 1)
    run = {VolumeNames(volume(20)).base} if layers == 1 else {VolumeNames(volume(20)).snapshot(snapshot(layers - 2))}
    run.add(VolumeNames(volume(20)).snapshot(snapshot(layers - 1)))
    assert {name: opens for name, opens in count.opens.items() if opens > (3 if name in run else 1)} == {}


@pytest.mark.parametrize(("layers", "which"), [(3, 0), (3, 1), (8, 0), (8, 4)])
def test_the_deletion_of_another_snapshot(counted: Counted, layers: int, which: int) -> None:
    counted.with_snapshots(30, layers)
    count = counted.count(lambda: counted.backend.delete_snapshot(counted.address, volume(30), snapshot(which)))
    # Above the run every layer is opened as it is below; what changes is one layer more.
    assert count.total <= DELETION + LINKED + LAYER * layers
    assert max(count.opens.values()) <= 3


def _others(directory: Path, count: int) -> None:
    for number in range(count):
        names = VolumeNames(volume(1_000_000 + number))
        (directory / names.base).touch()
        if number % 10 == 0:
            (directory / names.info).write_text("{}")


@pytest.mark.parametrize("others", [OTHERS, pytest.param(10 * OTHERS, marks=pytest.mark.more)])
def test_other_volumes_cost_nothing(counted: Counted, share_directory: Path, others: int) -> None:
    """As many requests and bytes on an empty share as on one that holds many volumes."""
    alone = counted.operations(40)
    _others(share_directory, others)
    among = counted.operations(50)
    different = [name for name in alone if alone[name].requests != among[name].requests]
    assert different == []
    # In which order a server lists names decides by how much the last one is padded.
    assert {name: among[name].received - alone[name].received for name in alone} == {
        name: pytest.approx(0, abs=PADDING) for name in alone
    }


def test_one_opening_of_an_image(counted: Counted) -> None:
    path = VolumeNames(volume(1)).base
    tally = Tally()

    def look() -> None:
        storage = watched(counted.files.open(path, Access.READ), tally)
        with closing(open_image(storage, new_id=lambda: None, format=ImageFormat.VHDX)):  # type: ignore[arg-type, return-value]
            pass

    count = counted.count(look)
    assert count.requests[Command.READ] <= 6
    assert tally.calls["read"] <= 3
    assert count.received <= 80 * KIB
