"""A volume's whole life on a share: created, filled, snapshotted, changed, cloned, extended, its snapshots deleted.

No mount and no host tool touches the images: the engine talks to the server. After every step the disk is read back
and compared with a raw file that went through the same changes.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from demo.disk import ExpectedDisk, check_filesystem, digest_of, missing_tools
from demo.share import Place, some_share
from smbfs_driver.volumes.volumes import Volumes
from vhdx import NativeEngine
from vhdx.storage.watched import Tally, WatchedFileSystem

MIB, GIB = 1 << 20, 1 << 30
VOLUME = f"volume-{UUID(int=0xA0)}"
CLONE = f"volume-{UUID(int=0xC0)}"
A, B = str(UUID(int=0x5A)), str(UUID(int=0x5B))


@dataclass
class Stage:
    """The share with a tally of what the engine asks of it, and the steps as they are printed."""

    place: Place
    tally: Tally = field(default_factory=Tally)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = WatchedFileSystem(self.place.files, self.tally)
        self.engine = NativeEngine()
        self.volumes = Volumes(self.files, self.engine)
        titles = ("seconds", "moved by engine", "moved on server", "on the wire")
        print(line("step", *titles, "disk"))

    def step(self, name: str, action: Callable[[], None], *expected: tuple[str, ExpectedDisk]) -> None:
        """Do something, then read volumes back and compare them; one line."""
        self.tally.clear()
        wire, start = self.place.wire(), time.monotonic()
        action()
        seconds, crossed = time.monotonic() - start, self.place.wire()
        copied = self.tally.bytes["copy"]
        moved = self.tally.bytes["read"] + self.tally.bytes["write"]
        verdicts = [self.compare(volume, disk) for volume, disk in expected]
        on_wire = "-" if wire is None or crossed is None else human(crossed - wire)
        verdict = "right" if all(verdicts) else "WRONG"
        print(line(name, f"{seconds:.2f}", human(moved), human(copied), on_wire, verdict), flush=True)
        if not all(verdicts):
            self.wrong.append(name)

    def compare(self, volume: str, disk: ExpectedDisk) -> bool:
        """Whether a volume, read through its chain from the share, is what it must be."""
        with self.engine.open_chain(self.files, self.volumes.active(volume)) as chain:
            return digest_of(chain) == disk.digest()

    def write(self, volume: str, disk: ExpectedDisk, before: ExpectedDisk) -> None:
        """Bring what has changed on *disk* since *before* into a volume, as a guest would."""
        with self.engine.open_chain(self.files, self.volumes.active(volume), writable=1) as chain:
            for offset, data in disk.changed_since(before):
                chain.write(offset, data)
            chain.flush()


def line(*cells: str) -> str:
    """A row of the table."""
    return "{:<34}{:>8}  {:>16}  {:>16}  {:>12}  {}".format(*cells)


def human(count: int) -> str:
    """Bytes for people."""
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def random_file(path: Path, size: int, seed: int) -> Path:
    """A file of bytes that cannot be compressed or guessed."""
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def lifecycle(stage: Stage, work: Path) -> ExpectedDisk:
    """The story. Returns what the volume must hold at the end."""
    volumes = stage.volumes
    blank = ExpectedDisk(work / "blank.raw", 2 * GIB)
    disk = ExpectedDisk(work / "disk.raw", 2 * GIB)
    tree = work / "tree"
    tree.mkdir()
    random_file(tree / "letters", 24 * MIB, 1)
    random_file(tree / "pictures", 40 * MIB, 2)
    disk.make_filesystem(tree)
    at_start = disk.copy(work / "at-start.raw")

    stage.step("create a volume of 2 GiB", lambda: volumes.create(VOLUME, 2 * GIB), (VOLUME, blank))
    stage.step("write an ext4 with 64 MiB in files", lambda: stage.write(VOLUME, disk, blank), (VOLUME, disk))
    stage.step("snapshot A", lambda: volumes.create_snapshot(VOLUME, A), (VOLUME, disk))

    disk.put(random_file(work / "music", 16 * MIB, 3), "music")
    disk.remove("letters")
    at_b = disk.copy(work / "at-b.raw")
    stage.step("change files (16 MiB)", lambda: stage.write(VOLUME, disk, at_start), (VOLUME, disk))
    stage.step("snapshot B", lambda: volumes.create_snapshot(VOLUME, B), (VOLUME, disk))

    disk.put(random_file(work / "films", 32 * MIB, 4), "films")
    stage.step("change files (32 MiB)", lambda: stage.write(VOLUME, disk, at_b), (VOLUME, disk))

    clone = at_start.copy(work / "clone.raw")
    stage.step(
        "new volume from snapshot A",
        lambda: volumes.create_from_snapshot(CLONE, VOLUME, A, 2 * GIB),
        (CLONE, clone),
        (VOLUME, disk),
    )
    disk.grow(3 * GIB)
    stage.step("extend the volume to 3 GiB", lambda: volumes.extend(VOLUME, 3 * GIB), (VOLUME, disk))
    stage.step("delete snapshot A (a middle merge)", lambda: volumes.delete_snapshot(VOLUME, A), (VOLUME, disk))
    stage.step(
        "delete snapshot B (the last merge)",
        lambda: volumes.delete_snapshot(VOLUME, B),
        (VOLUME, disk),
        (CLONE, clone),
    )
    stage.step("delete the new volume", lambda: volumes.delete(CLONE), (VOLUME, disk))
    return disk


def second_opinions(stage: Stage, disk: ExpectedDisk, work: Path) -> bool:
    """Others look at what is left: the file system's checker, and qemu-img where it is there."""
    read_back = work / "read-back.raw"
    with read_back.open("wb") as raw, stage.engine.open_chain(stage.files, stage.volumes.active(VOLUME)) as chain:
        raw.truncate(chain.size)
        for offset, _ in disk.chunks():
            raw.seek(offset)
            raw.write(chain.read(offset, min(MIB, chain.size - offset)))
    good = True
    try:
        check_filesystem(read_back)
        print("e2fsck: the file system on the volume is clean")
    except subprocess.CalledProcessError as error:
        print(f"e2fsck: {error.stdout.decode(errors='replace')}")
        good = False
    image = stage.place.directory / stage.volumes.active(VOLUME)
    for arguments in (["check", str(image)], ["compare", "-f", "raw", "-F", "vhdx", str(disk.path), str(image)]):
        try:
            done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            print("qemu-img is not there to be asked")
            break
        print(f"qemu-img {arguments[0]}: {(done.stdout or done.stderr).strip()}")
        good = good and done.returncode == 0
    left = sorted(path.name for path in stage.place.directory.iterdir())
    print(f"on the share: {', '.join(left)}")
    return good and left == sorted([f"{VOLUME}.vhdx", f"{VOLUME}.vhdx.info"])


def main() -> int:
    """Run it; 0 when every disk was what it had to be."""
    if missing := missing_tools():
        print(f"{', '.join(missing)} not found: the demo makes a real file system (Debian: apt-get install e2fsprogs)")
        return 1
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vhdx-demo-") as work, some_share() as place:
        stage = Stage(place)
        disk = lifecycle(stage, Path(work))
        print()
        good = second_opinions(stage, disk, Path(work)) and not stage.wrong
    seconds = time.monotonic() - start
    if good:
        print(f"\nEvery disk was right after every step ({seconds:.0f} s).")
        return 0
    print(f"\nNOT RIGHT: {', '.join(stage.wrong) or 'the second opinions'} ({seconds:.0f} s).")
    return 1


if __name__ == "__main__":
    sys.exit(main())
