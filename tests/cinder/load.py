"""Clients of a cloud that do random things at once, held to an oracle: ``python -m tests.cinder load MINUTES``."""

import argparse
import itertools
import random
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from tests.cinder.cloud import Cloud
from tests.cinder.nodes import BACKENDS
from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Volumes
from tests.cinder.waiting import until as wait_until
from tests.support.load import Load, Open, until
from vhdx import SmbPool

CLIENTS = 4
_GOOD = {"available"}


class CinderGround:
    """Volumes of every backend, through Cinder; sizes in GiB."""

    unit = 1 << 30

    def __init__(self, rest: Rest, shares: Shares) -> None:
        self._rest = rest
        self._shares = shares
        self._volumes = {backend: Volumes(rest, backend) for backend in BACKENDS}
        self._backends: dict[str, str] = {}
        self._turn = itertools.cycle(BACKENDS)
        self._lock = threading.Lock()
        self._snapshotted: dict[str, int] = {}
        pools = [pool["name"] for pool in rest.volume("GET", "/scheduler-stats/get_pools")["pools"]]
        self._pools = {backend: [pool for pool in pools if f"@{backend}#" in pool] for backend in BACKENDS}

    def _of(self, volume: str) -> Volumes:
        return self._volumes[self._backends[volume]]

    def create(self, size: int) -> str:
        with self._lock:
            backend = next(self._turn)
        volume = self._volumes[backend].create(size)
        self._backends[volume] = backend
        return volume

    def snapshot(self, volume: str) -> str:
        # Cinder knows by whole seconds which one is the latest.
        wait_until(lambda: int(time.time()) > self._snapshotted.get(volume, 0), "the clock moves on")
        snapshot = self._of(volume).snapshot(volume)
        self._snapshotted[volume] = int(time.time())
        return snapshot

    def delete_snapshot(self, volume: str, snapshot: str) -> None:
        self._of(volume).delete_snapshot(snapshot)

    def revert(self, volume: str, snapshot: str) -> None:
        self._of(volume).revert(volume, snapshot)

    def clone(self, volume: str, size: int) -> str:
        return self._made(volume, self._of(volume).create(size, source_volid=volume))

    def from_snapshot(self, volume: str, snapshot: str, size: int) -> str:
        return self._made(volume, self._of(volume).create(size, snapshot_id=snapshot))

    def _made(self, source: str, volume: str) -> str:
        self._backends[volume] = self._backends[source]
        return volume

    def extend(self, volume: str, size: int) -> None:
        self._of(volume).extend(volume, size)

    def can_extend(self, volume: str, snapshots: int) -> bool:
        return self._backends[volume] != "vhd" or not snapshots

    def migrate(self, volume: str) -> None:
        here = self._of(volume).pool(volume)
        self._of(volume).migrate(volume, random.choice([pool for pool in self._all(volume) if pool != here]))

    def can_migrate(self, volume: str) -> bool:
        return len(self._all(volume)) > 1

    def _all(self, volume: str) -> list[str]:
        return self._pools[self._backends[volume]]

    def delete(self, volume: str) -> None:
        self._of(volume).delete(volume)

    def open(self, volume: str, *, writable: bool = False) -> AbstractContextManager[Open]:
        return self._shares.open(volume, writable=writable)


def run(arguments: Sequence[str], cloud: Cloud) -> int:
    """Put the cloud under load for so many minutes; 0 where all was as it should be. Raises what was not."""
    parser = argparse.ArgumentParser(prog="load", description="Random work of several clients, checked by an oracle.")
    parser.add_argument("minutes", type=float, nargs="?", default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the clients' choices; the time unless told")
    options = parser.parse_args(arguments)
    rest = Rest(cloud)
    print(f"load: {options.minutes:g} min, {CLIENTS} clients, seed {options.seed}", flush=True)
    with SmbPool() as pool:
        shares = Shares(cloud, pool)
        before = shares.files()
        load = Load(CinderGround(rest, shares), options.seed)
        try:
            load.run(CLIENTS, until(60 * options.minutes))
            _check_states(rest)
            load.clear()
        finally:
            print(f"load: {load.summary()}", flush=True)
        left = shares.files() - before
    if left:
        print(f"left on the shares: {', '.join(sorted(left))}")
    return 1 if left else 0


def _check_states(rest: Rest) -> None:
    """Nothing hangs, and nothing has failed unseen."""
    for kind in ("volumes", "snapshots"):
        found = rest.volume("GET", f"/{kind}/detail?all_tenants=1")[kind]
        odd = {one["id"]: one["status"] for one in found if one["status"] not in _GOOD}
        assert not odd, f"{kind}: {odd}"
