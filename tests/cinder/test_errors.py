"""The page on errors is right: which exception ends a request, how many pools are tried, what is left, what users read.

Each row of its tables is a cause here. The service's log has the exceptions, a line for each try.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import vhdx
from tests.cinder import database
from tests.cinder.cloud import Cloud
from tests.cinder.environments import PROJECT
from tests.cinder.nodes import hosts, place
from tests.cinder.rest import Rest
from tests.cinder.sample_images import make, upload
from tests.cinder.shares import Shares
from tests.cinder.volume_types import Types
from tests.cinder.volumes import Volumes
from tests.cinder.waiting import until

MIB, GIB = 1 << 20, 1 << 30
PAGE = (PROJECT / "docs" / "operator" / "errors.md").read_text()
POOLS = 2
"""Those of the backend: each is tried once."""


def table(chapter: str) -> dict[str, list[str]]:
    """The rows under a heading, by their first cell."""
    text = PAGE.partition(f"## {chapter}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows[2:]}


MAKING, ELSE = table("Making a volume"), table("Everything else")


class Log:
    """What the volume services wrote since this was made."""

    def __init__(self, cloud: Cloud) -> None:
        self._files = {path: path.stat().st_size for host in hosts() for path in [log_of(cloud, host)]}

    def text(self) -> str:
        return "".join(path.read_bytes()[start:].decode(errors="replace") for path, start in self._files.items())

    def tries(self, volume: str) -> int:
        return self.text().count(f"Volume {volume}: being created as")

    def names(self, exception: str) -> bool:
        """Whether an exception of this class, of Cinder or of the driver, ended something."""
        wanted = re.compile(rf"\b(?:cinder\.exception|smbfs_driver\.cinder\.failures)\.{exception}: ")
        return wanted.search(self.text()) is not None


def log_of(cloud: Cloud, host: str) -> Path:
    return Path(cloud.home, "log", f"cinder-volume-{host}.log")


class Bench:
    """What a cause is made of. *held* ends with the test."""

    def __init__(self, cloud: Cloud, rest: Rest, shares: Shares, tmp_path: Path, held: ExitStack) -> None:
        self.cloud = cloud
        self.rest, self.shares, self.tmp_path, self.held = rest, shares, tmp_path, held
        self.volumes = Volumes(rest, "vhdx")
        self.types = Types(rest, "vhdx")

    def image(self, path: Path) -> str:
        """An image in Glance, and gone with the test."""
        made = upload(self.rest, path, path.suffix[1:])
        self.held.callback(self.rest.image, "DELETE", f"/images/{made}")
        return made

    def ask(self, size: int = 1, **how: object) -> str:
        """The id of a volume that is asked for."""
        kind = {} if {"snapshot_id", "source_volid", "volume_type"} & how.keys() else {"volume_type": "vhdx"}
        made = self.rest.volume("POST", "/volumes", {"volume": {"name": "test", "size": size, **kind, **how}})
        ident = str(made["volume"]["id"])
        self.volumes.adopt(ident)
        return ident

    def path(self, volume: str) -> Path:
        share, _, file = self.shares.active(volume).partition("/")
        return self.shares.directory(share) / file

    def opened(self, volume: str) -> None:
        """Somebody writes to a volume beside Cinder."""
        self.held.callback(self.shares.open(volume, writable=True).close)


def damaged_image(bench: Bench) -> str:
    path = make(bench.tmp_path, "vhdx", 8 * MIB)
    with path.open("r+b") as file:
        file.seek(192 << 10)
        file.write(bytes(128 << 10))
    return bench.ask(imageRef=bench.image(path))


def image_with_another_hash(bench: Bench) -> str:
    """What Glance has of it changed behind Glance's back."""
    image = bench.image(make(bench.tmp_path, "vhdx", 8 * MIB))
    (stored,) = Path(bench.cloud.home, "state").rglob(f"*{image}")
    with stored.open("r+b") as file:
        file.seek(-4096, 2)
        byte = file.read(1)
        file.seek(-4096, 2)
        file.write(bytes([byte[0] ^ 1]))
    return bench.ask(imageRef=image)


def image_with_a_parent(bench: Bench) -> str:
    vhdx.create(bench.tmp_path / "base.vhdx", 8 * MIB)
    vhdx.create(bench.tmp_path / "child.vhdx", parent=bench.tmp_path / "base.vhdx")
    return bench.ask(imageRef=bench.image(bench.tmp_path / "child.vhdx"))


def too_large_image(bench: Bench) -> str:
    """One whose size Glance does not know, or Cinder would refuse it by itself."""
    image = bench.image(make(bench.tmp_path, "vhdx", 2 * GIB))
    database.run(bench.cloud, "glance", "UPDATE images SET virtual_size = NULL WHERE id = %s", image)
    return bench.ask(imageRef=image)


def typed(**specs: str) -> Callable[[Bench], str]:
    return lambda bench: bench.ask(volume_type=bench.types.create(**specs))


def encrypted(bench: Bench) -> str:
    kind = bench.types.create()
    bench.types.encrypt(kind)
    return bench.ask(volume_type=kind)


def attached_source(bench: Bench) -> str:
    source = bench.volumes.create()
    attachment, _ = bench.volumes.attach(source)
    bench.held.callback(bench.volumes.detach, source, attachment)
    return bench.ask(source_volid=source)


def lost_source(bench: Bench) -> str:
    source = bench.volumes.create()
    bench.path(source).unlink()
    return bench.ask(source_volid=source)


@contextmanager
def unwritable(directory: Path) -> Iterator[None]:
    """Nobody, not even root, makes a file there."""
    subprocess.run(["chattr", "+i", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", directory], check=True)


def unwritable_shares(bench: Bench) -> str:
    for name in ("share1", "share2"):
        bench.held.enter_context(unwritable(bench.shares.directory(name)))
    return bench.ask()


CAUSES: dict[str, Callable[[Bench], str]] = {
    "the image is damaged": damaged_image,
    "the image does not hash as Glance says": image_with_another_hash,
    "the image records a parent": image_with_a_parent,
    "the disk in the image is larger than the volume": too_large_image,
    "the volume type asks for encryption": encrypted,
    "`smbfs:volume_format` of the type is neither vhdx nor vhd": typed(smbfs__volume_format="qcow"),
    "`provisioning:type` of the type is neither thin nor thick": typed(provisioning__type="plump"),
    "the volume is larger than a VHD can be": lambda bench: bench.ask(
        2041, volume_type=bench.types.create(smbfs__volume_format="vhd")
    ),
    "the volume to be cloned is attached": attached_source,
    "the volume to be cloned is damaged or gone": lost_source,
    "the share cannot be written to": unwritable_shares,
}


@pytest.fixture
def bench(cloud: Cloud, rest: Rest, shares: Shares, tmp_path: Path) -> Iterator[Bench]:
    """Everything that was made with it is gone at the end, and nothing is left on the shares."""
    before = shares.files()
    with ExitStack() as held:
        made = Bench(cloud, rest, shares, tmp_path, held)
        yield made
    made.volumes.force_clear()
    made.types.clear()
    assert shares.files() == before


def test_every_cause_of_the_page_is_tried() -> None:
    assert set(CAUSES) == set(MAKING)
    assert set(OTHERS) == set(ELSE)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_volume_that_cannot_be_made(cloud: Cloud, bench: Bench, cause: str) -> None:
    exception, tries, message = MAKING[cause]
    before = bench.shares.files()
    log = Log(cloud)
    volume = CAUSES[cause](bench)
    until(lambda: bench.volumes.show(volume)["status"] == "error", f"{volume} cannot be made")
    until(lambda: log.names(exception.strip("`")), f"{exception} is in the log")
    told = [one["user_message"].replace(":", ": ", 1) for one in bench.volumes.messages(volume)]
    assert set(told) == set(message.split("; "))
    assert log.tries(volume) == (1 if tries == "1" else POOLS)
    assert not bench.shares.files_of(volume)
    bench.volumes.delete(volume)
    assert bench.shares.files() >= before


def test_a_volume_that_one_share_cannot_take_goes_to_another(cloud: Cloud, bench: Bench) -> None:
    log = Log(cloud)
    with unwritable(bench.shares.directory("share1")):
        made = [bench.ask() for _ in range(4)]
        for volume in made:
            bench.volumes.wait("volumes", volume, "available")
    assert {bench.shares.share_of(volume) for volume in made} == {"share2"}
    assert max(log.tries(volume) for volume in made) == 2
    for volume in made:
        bench.volumes.delete(volume)


Left = tuple[str, str]
"""What a request leaves: the kind and the id of a thing."""


def delete_of_attached(bench: Bench) -> Left:
    volume = bench.volumes.create()
    snapshot = bench.volumes.snapshot(volume)
    attachment, _ = bench.volumes.attach(volume)
    bench.held.callback(bench.volumes.detach, volume, attachment)
    bench.rest.volume("DELETE", f"/snapshots/{snapshot}")
    return ("snapshots", snapshot)


def delete_of_opened(bench: Bench) -> Left:
    volume = bench.volumes.create()
    snapshot = bench.volumes.snapshot(volume)
    bench.opened(volume)
    bench.rest.volume("DELETE", f"/snapshots/{snapshot}")
    return ("snapshots", snapshot)


def delete_of_opened_volume(bench: Bench) -> Left:
    volume = bench.volumes.create()
    bench.opened(volume)
    bench.rest.volume("DELETE", f"/volumes/{volume}")
    return ("volumes", volume)


def snapshot_of_attached(bench: Bench) -> Left:
    volume = bench.volumes.create()
    attachment, _ = bench.volumes.attach(volume)
    bench.held.callback(bench.volumes.detach, volume, attachment)
    body = {"snapshot": {"name": "test", "volume_id": volume, "force": True}}
    made = bench.rest.volume("POST", "/snapshots", body)["snapshot"]["id"]
    bench.volumes.adopt_any("snapshots", made)
    return ("snapshots", made)


def extend_of_opened(bench: Bench) -> Left:
    volume = bench.volumes.create()
    bench.opened(volume)
    bench.volumes.act(volume, "os-extend", new_size=2)
    return ("volumes", volume)


def image_of_opened(bench: Bench) -> Left:
    volume = bench.volumes.create()
    bench.opened(volume)
    bench.volumes.act(
        volume, "os-volume_upload_image", image_name="test", disk_format="raw", container_format="bare", force=False
    )
    return ("volumes", volume)


def manage(bench: Bench, home: str, name: str) -> Left:
    body = {"volume": {**place(bench.volumes.pool(home)), "ref": {"source-name": name}, "volume_type": "vhdx"}}
    made = bench.rest.volume("POST", "/manageable_volumes", body)["volume"]["id"]
    bench.volumes.adopt(made)
    return ("volumes", made)


def manage_of_child(bench: Bench) -> Left:
    home = bench.volumes.create()
    path = bench.path(home)
    child = path.with_name("child.vhdx")
    vhdx.create(child, parent=path)
    bench.held.callback(child.unlink)
    return manage(bench, home, "child")


def manage_of_another(bench: Bench) -> Left:
    home = bench.volumes.create()
    return manage(bench, home, f"volume-{home}.vhdx")


def manage_snapshot(bench: Bench, name: Callable[[str], str]) -> Left:
    volume = bench.volumes.create()
    snapshot = bench.volumes.snapshot(volume)
    body = {"snapshot": {"volume_id": volume, "ref": {"source-name": name(snapshot)}, "name": "test"}}
    made = bench.rest.volume("POST", "/manageable_snapshots", body)["snapshot"]["id"]
    bench.volumes.adopt_any("snapshots", made)
    return ("snapshots", made)


def retype(bench: Bench) -> Left:
    volume = bench.volumes.create()
    bench.opened(volume)
    kind = bench.types.create(smbfs__volume_format="vhd")
    bench.volumes.act(volume, "os-retype", new_type=kind, migration_policy="never")
    return ("volumes", volume)


OTHERS: dict[str, Callable[[Bench], Left]] = {
    "a snapshot is deleted while its volume is attached": delete_of_attached,
    "a snapshot is deleted while somebody has its files open": delete_of_opened,
    "a volume is deleted while somebody has its files open": delete_of_opened_volume,
    "a snapshot is made of an attached volume": snapshot_of_attached,
    "a volume cannot be extended": extend_of_opened,
    "a volume cannot be made an image": image_of_opened,
    "`manage` names no image": lambda bench: manage(bench, bench.volumes.create(), "nothing.vhdx"),
    "`manage` names an image with a parent, or a damaged one": manage_of_child,
    "`manage` names an image that is a volume already": manage_of_another,
    "`manage` of a snapshot names none": lambda bench: manage_snapshot(bench, lambda _: "snapshot-nothing"),
    "`manage` of a snapshot names one that Cinder has": lambda bench: manage_snapshot(bench, lambda known: known),
    "a volume cannot be retyped": retype,
}


@pytest.mark.parametrize("cause", OTHERS)
def test_something_else_that_cannot_be_done(cloud: Cloud, bench: Bench, cause: str) -> None:
    exception, status, message = ELSE[cause]
    log = Log(cloud)
    kind, ident = OTHERS[cause](bench)
    until(lambda: log.names(exception.strip("`")), f"{exception} is in the log")
    wanted = status.replace("snapshot", "").strip(" `")
    until(lambda: bench.rest.volume("GET", f"/{kind}/{ident}")[kind[:-1]]["status"] == wanted, f"{ident} is {wanted}")
    told = [one["user_message"].replace(":", ": ", 1) for one in bench.volumes.messages(ident)]
    assert told == ([message] if message else [])


def test_a_snapshot_that_cinder_has_keeps_its_content(bench: Bench) -> None:
    """Another name for it would take it away from the one that it is."""
    volume = bench.volumes.create()
    bench.shares.write(volume, 0, b"1" * 512)
    snapshot = bench.volumes.snapshot(volume)
    bench.shares.write(volume, 0, b"2" * 512)
    body = {"snapshot": {"volume_id": volume, "ref": {"source-name": snapshot}, "name": "test"}}
    made = bench.rest.volume("POST", "/manageable_snapshots", body)["snapshot"]["id"]
    bench.volumes.adopt_any("snapshots", made)
    until(lambda: bench.rest.volume("GET", f"/snapshots/{made}")["snapshot"]["status"] == "error", "it is refused")
    copy = bench.volumes.create(snapshot_id=snapshot)
    assert bench.shares.read(copy, 0, 512) == b"1" * 512
