"""Operations on a volume beside many others, against the same on an empty share, as Samba is configured.

An operation asks for as much either way; what differs is how long the server looks for names. The other volumes are
sparse files, made in the share's directory itself.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import UUID

from benchmarks.content import MIB
from benchmarks.measuring import Case, Contender, WrongResult
from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes.names import VolumeNames
from smbfs_driver.volumes.shape import DYNAMIC_VHDX
from smbfs_driver.worker.backend import Backend
from tests.support.smbd import Smbd, unavailable
from vhdx.storage.base import FileSystem
from vhdx.storage.smb import Credentials, SmbPool
from vhdx.verbs.engine import NativeEngine

OTHERS = 20_000
OTHER_SIZE = 4 * MIB
WITH_DOCUMENT = 10
"""Every so many of the others have a document beside them."""

SIZE = 64 * MIB
VOLUME, CLONE = f"volume-{UUID(int=1 << 64)}", f"volume-{UUID(int=2 << 64)}"
SNAPSHOT = str(UUID(int=1))
CONFIGURATIONS = {
    "smb.conf as it comes": "",
    "case sensitive": "case sensitive = yes",
    "case sensitive, not mangled": "case sensitive = yes\nmangled names = no",
}
"""Lines for the section of the share, by what the table calls them."""

AMONG, ALONE = f"{OTHERS:,} volumes", "none"


def missing() -> str | None:
    """Why there is no share here, or None."""
    return unavailable()


def cases(directory: Path, size: int) -> Iterator[Case]:  # noqa: ARG001  the volumes are empty
    """Each operation, and all of them one after the other, with each configuration."""
    places = {AMONG: directory / "among", ALONE: directory / "alone"}
    for place in places.values():
        place.mkdir()
    _fill(places[AMONG])
    for configuration, lines in CONFIGURATIONS.items():
        with ExitStack() as stack:
            server, pool = stack.enter_context(Smbd()), stack.enter_context(SmbPool())
            for place in places.values():
                server.add_share(place.name, place, lines)
            volumes = {name: _Volume(place, _connected(server, pool, place.name)) for name, place in places.items()}
            for operation in OPERATIONS:
                contenders = [_contender(name, volume, operation) for name, volume in volumes.items()]
                yield Case(operation, configuration, contenders)
            contenders = [
                Contender(name, volume.live, volume.discard, volume.check) for name, volume in volumes.items()
            ]
            yield Case("all of these", configuration, contenders)


def _fill(directory: Path) -> None:
    for number in range(OTHERS):
        names = VolumeNames(f"volume-{UUID(int=number)}")
        with (directory / names.base).open("wb") as file:
            file.truncate(OTHER_SIZE)
        if number % WITH_DOCUMENT == 0:
            (directory / names.info).write_text("{}")


def _connected(server: Smbd, pool: SmbPool, name: str) -> tuple[Share, FileSystem]:
    """A share that the server may take up only after a moment."""
    credentials = Credentials(server.user, server.password)
    deadline = time.monotonic() + 30
    while True:
        try:
            files = pool.share(server.host, name, port=server.port, credentials=credentials)
        except FileNotFoundError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return Share(server.host, name, credentials, server.port), files


class _Volume:
    """One volume on a share, and whatever is made of it."""

    def __init__(self, directory: Path, connected: tuple[Share, FileSystem]) -> None:
        self._directory = directory
        share, self._files = connected
        self._address = share.address
        self._backend = Backend([share], lambda _: self._files)

    def create(self) -> None:
        self._backend.create(self._address, VOLUME, SIZE, DYNAMIC_VHDX)

    def extend(self) -> None:
        self._backend.extend(self._address, VOLUME, 2 * SIZE)

    def create_snapshot(self) -> None:
        self._backend.create_snapshot(self._address, VOLUME, SNAPSHOT)

    def revert(self) -> None:
        self._backend.revert(self._address, VOLUME, SNAPSHOT)

    def clone(self) -> None:
        at = self._address
        self._backend.clone(at, CLONE, VOLUME, size=2 * SIZE, onto=at, shape=DYNAMIC_VHDX, snapshot_id=None)

    def delete_snapshot(self) -> None:
        self._backend.delete_snapshot(self._address, VOLUME, SNAPSHOT)

    def delete(self) -> None:
        self._backend.delete(self._address, VOLUME)

    def write(self) -> None:
        """As the volume's guest."""
        active = self._backend.active(self._address, VOLUME)
        with closing(NativeEngine().open_chain(self._files, active, writable=1, orphan=True)) as chain:
            chain.write(0, b"\1" * 512)

    def live(self) -> None:
        """Each operation once."""
        for operation in OPERATIONS:
            getattr(self, operation)()

    def discard(self) -> None:
        """Remove what is left, behind the server's back."""
        for path in [*self._directory.glob(f"{VOLUME}*"), *self._directory.glob(f"{CLONE}*")]:
            path.unlink()

    def check(self) -> None:
        """Raise WrongResult unless the clone is all that is left of the volume."""
        left = [path.name for path in self._directory.glob(f"{VOLUME}*")]
        if left or not (self._directory / VolumeNames(CLONE).base).exists():
            raise WrongResult(f"{left} are left, or there is no clone")


_Step = Callable[[_Volume], None]
OPERATIONS: dict[str, tuple[_Step, ...]] = {
    "create": (),
    "extend": (_Volume.create, _Volume.write),
    "create_snapshot": (_Volume.create, _Volume.write),
    "revert": (_Volume.create, _Volume.write, _Volume.create_snapshot, _Volume.write),
    "clone": (_Volume.create, _Volume.write),
    "delete_snapshot": (_Volume.create, _Volume.write, _Volume.create_snapshot, _Volume.write),
    "delete": (_Volume.create, _Volume.write),
}
"""What an operation needs to be done before it."""


def _contender(name: str, volume: _Volume, operation: str) -> Contender:
    def prepare() -> None:
        volume.discard()
        for step in OPERATIONS[operation]:
            step(volume)

    return Contender(name, getattr(volume, operation), prepare)
