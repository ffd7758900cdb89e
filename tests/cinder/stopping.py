"""Operations that are stopped in the middle, on a volume with something in it, and what an administrator does then."""

import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cinder.nodes import place
from tests.cinder.rest import Refused, Rest
from tests.cinder.sample_images import make, upload
from tests.cinder.shares import Shares
from tests.cinder.volumes import Volumes
from tests.cinder.waiting import until

MIB = 1 << 20
BIG = 96 * MIB
PIECE = random.Random(3).randbytes(4 * MIB)


class Bed:
    """A volume with something in it, what is done to it, and what may come of it."""

    def __init__(self, rest: Rest, shares: Shares, tmp_path: Path) -> None:
        self.rest = rest
        self.shares = shares
        self.volumes = Volumes(rest, "vhdx")
        self.tmp_path = tmp_path
        self.volume = self.volumes.create()
        self.fill(0)
        self.snapshot = ""
        self.allowed: set[str] = set()

    def prepare(self, operation: str) -> None:
        """Whatever is needed for an operation; *allowed* then is what the volume may hold after it or without it."""
        first = self.content(self.volume)
        OPERATIONS[operation][0](self)
        self.allowed = {self.content(self.volume)} | ({first} if operation == "revert" else set())

    def ask(self, operation: str) -> None:
        """Have Cinder begin an operation."""
        OPERATIONS[operation][1](self)

    def begin(self, operation: str) -> None:
        """Ask for an operation, and wait until something has changed on a share, if it changes something there."""
        known = self.shares.files()
        self.ask(operation)
        until(lambda: self.shares.files() != known or operation == "to an image", "it has begun", pause=0.001)

    def fill(self, start: int, length: int = BIG) -> None:
        """Much, so that what follows takes a while."""
        with self.shares.open(self.volume, writable=True) as disk:
            for offset in range(start, start + length, len(PIECE)):
                disk.write(offset, PIECE)
            disk.flush()

    def keep(self) -> None:
        """A snapshot, and as much again after it."""
        self.snapshot = self.volumes.snapshot(self.volume)
        self.fill(BIG // 2)

    def content(self, volume: str) -> str:
        """What a volume holds, in short."""
        digest = hashlib.sha256()
        with self.shares.open(volume) as disk:
            for offset in range(0, 2 * BIG, len(PIECE)):
                digest.update(disk.read(offset, len(PIECE)))
        return digest.hexdigest()

    def post(self, kind: str, **body: object) -> str:
        made = self.rest.volume("POST", f"/{kind}", {kind[:-1]: {"name": "killed", **body}})
        ident = str(made[kind[:-1]]["id"])
        self.volumes.adopt_any(kind, ident)
        return ident

    def act(self, action: str, **arguments: object) -> Any:
        return self.volumes.act(self.volume, action, **arguments)

    def type_of(self, format: str) -> str:
        name = f"{format}-{time.monotonic_ns()}"
        specs = {"volume_backend_name": "vhdx", "smbfs:volume_format": format}
        self.rest.volume("POST", "/types", {"volume_type": {"name": name, "extra_specs": specs}})
        return name

    def elsewhere(self) -> str:
        here = self.volumes.pool(self.volume)
        pools = [pool["name"] for pool in self.rest.volume("GET", "/scheduler-stats/get_pools")["pools"]]
        return str(next(pool for pool in pools if pool != here and "@vhdx#" in pool))


Operation = tuple[Callable[[Bed], None], Callable[[Bed], object]]


def nothing(_: Bed) -> None:
    """There is nothing to prepare."""


OPERATIONS: dict[str, Operation] = {
    "create": (nothing, lambda bed: bed.post("volumes", size=1)),
    "create a snapshot": (nothing, lambda bed: bed.post("snapshots", volume_id=bed.volume)),
    "delete a snapshot": (Bed.keep, lambda bed: bed.rest.volume("DELETE", f"/snapshots/{bed.snapshot}")),
    "extend": (Bed.keep, lambda bed: bed.act("os-extend", new_size=3)),
    "revert": (Bed.keep, lambda bed: bed.act("revert", snapshot_id=bed.snapshot)),
    "clone": (Bed.keep, lambda bed: bed.post("volumes", size=1, source_volid=bed.volume)),
    "from a snapshot": (Bed.keep, lambda bed: bed.post("volumes", size=1, snapshot_id=bed.snapshot)),
    "to an image": (
        Bed.keep,
        lambda bed: bed.act(
            "os-volume_upload_image", image_name="killed", disk_format="raw", container_format="bare", force=False
        ),
    ),
    "from an image": (
        nothing,
        lambda bed: bed.post("volumes", size=1, imageRef=upload(bed.rest, make(bed.tmp_path, "vhdx", BIG), "vhdx")),
    ),
    "delete": (nothing, lambda bed: bed.rest.volume("DELETE", f"/volumes/{bed.volume}")),
    "migrate": (
        nothing,
        lambda bed: bed.act("os-migrate_volume", **place(bed.elsewhere()), force_host_copy=False, lock_volume=False),
    ),
    "retype": (nothing, lambda bed: bed.act("os-retype", new_type=bed.type_of("vhd"), migration_policy="never")),
}


def under_way(shares: Shares) -> list[str]:
    """What lies on the shares only while something is done there."""
    return [file for file in shares.files() if file.endswith((".intent", ".tmp"))]


def exists(rest: Rest, volume: str) -> bool:
    try:
        rest.volume("GET", f"/volumes/{volume}")
    except Refused as refused:
        if refused.status != 404:
            raise
        return False
    return True


def set_right(bed: Bed) -> None:
    """Give what is left a state in which it can be used or deleted, once Cinder does nothing by itself any more."""
    for kind, ident in bed.volumes.made():
        status = settled_status(bed.rest, kind, ident)
        if status is None:
            bed.volumes.forget_any(kind, ident)
        elif status != "available":
            usable = "available" if ident in (bed.volume, bed.snapshot) else "error"
            path, action = f"/{kind}/{ident}/action", {"status": usable}
            if kind == "volumes":
                action["migration_status"] = "none"
            bed.rest.volume("POST", path, {"os-reset_status": action})
        elif kind == "volumes" and bed.rest.volume("GET", f"/volumes/{ident}")["volume"]["migration_status"]:
            bed.rest.volume("POST", f"/volumes/{ident}/action", {"os-reset_status": {"migration_status": "none"}})


def settled_status(rest: Rest, kind: str, ident: str) -> str | None:
    """The status that something has, and keeps for a while; None where it is gone."""
    seen: str | None = ""
    since = time.monotonic()
    while time.monotonic() - since < 3:
        try:
            status = str(rest.volume("GET", f"/{kind}/{ident}")[kind[:-1]]["status"])
        except Refused as refused:
            if refused.status != 404:
                raise
            return None
        if status != seen:
            seen, since = status, time.monotonic()
        time.sleep(0.2)
    return seen
