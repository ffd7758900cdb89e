"""Many clients doing random things to volumes at once, and an oracle that knows what each volume has to hold.

The choices follow from a seed; how they interleave does not. Whatever a `Ground` offers is used: a Cinder, or the core
of the driver by itself.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

PIECE = 4096
ALONE = -1
_AT_ONCE = 16 << 20
_MOST_VOLUMES, _MOST_SNAPSHOTS, _MOST_UNITS = 14, 4, 3
_SPOTS = 24
"""Places of a disk that are written; so few that what was written is written again."""


class Open(Protocol):
    """An open disk."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> object: ...

    def flush(self) -> None: ...


class Ground(Protocol):
    """Where volumes are. Sizes are in units of *unit* bytes; names are what the ground gives out."""

    @property
    def unit(self) -> int: ...

    def create(self, size: int) -> str: ...

    def snapshot(self, volume: str) -> str: ...

    def delete_snapshot(self, volume: str, snapshot: str) -> None: ...

    def revert(self, volume: str, snapshot: str) -> None: ...

    def clone(self, volume: str, size: int) -> str: ...

    def from_snapshot(self, volume: str, snapshot: str, size: int) -> str: ...

    def extend(self, volume: str, size: int) -> None: ...

    def can_extend(self, volume: str, snapshots: int) -> bool: ...

    def migrate(self, volume: str) -> None: ...

    def can_migrate(self, volume: str) -> bool: ...

    def delete(self, volume: str) -> None: ...

    def open(self, volume: str, *, writable: bool = False) -> AbstractContextManager[Open]: ...


@dataclass
class Content:
    """What a disk holds: its size in units, and the stamp of each piece that is not zeros."""

    size: int
    stamps: dict[int, int] = field(default_factory=dict)

    def copy(self, size: int | None = None) -> "Content":
        return Content(size or self.size, dict(self.stamps))


@dataclass
class Volume:
    """A volume as it has to be. *snapshots* are in the order in which they were made; *users* is how many clients copy
    it at the moment, and `ALONE` while one changes it.
    """

    name: str
    now: Content
    snapshots: dict[str, Content] = field(default_factory=dict)
    users: int = 0


def stamped(stamp: int) -> bytes:
    """The bytes of a piece."""
    return stamp.to_bytes(16, "little") * (PIECE // 16)


class Load:
    """A run of clients on one ground."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self._ground = ground
        self._seed = seed
        self._volumes: list[Volume] = []
        self._guard = threading.Lock()
        self._stamps = iter(range(1, 1 << 62))
        self._failure: BaseException | None = None
        self.done: Counter[str] = Counter()

    def run(self, clients: int, goes_on: Callable[[int], bool]) -> None:
        """Let *clients* work while *goes_on* with the number of operations so far; then look at everything.

        Raises what went wrong first, naming seed, client and operation.
        """
        threads = [threading.Thread(target=self._client, args=(number, goes_on)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
        for volume in self._volumes:
            self._compare(volume)
            for snapshot, content in volume.snapshots.items():
                self._compare_snapshot(volume, snapshot, content)

    def clear(self) -> None:
        """Delete every volume."""
        for volume in self._volumes:
            for snapshot in reversed(volume.snapshots):
                self._ground.delete_snapshot(volume.name, snapshot)
            self._ground.delete(volume.name)

    def summary(self) -> str:
        """How often what was done."""
        return ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))

    def _client(self, number: int, goes_on: Callable[[int], bool]) -> None:
        choice = random.Random(f"{self._seed} {number}")
        deeds = list(self._deeds())
        while self._failure is None and goes_on(self.done.total()):
            name, deed = choice.choices(deeds, [weight for _, _, weight in _WEIGHED])[0]
            try:
                if deed(choice):
                    self.done[name] += 1
            except BaseException as error:  # noqa: BLE001  it is raised again, in the thread that waits
                error.add_note(f"seed {self._seed}, client {number}: {name}")
                self._failure = self._failure or error
                return

    def _deeds(self) -> Iterator[tuple[str, Callable[[random.Random], bool]]]:
        for name, method, _ in _WEIGHED:
            yield name, method.__get__(self)

    # What clients do. Each gives whether there was something to do.

    @contextmanager
    def _some(
        self, choice: random.Random, suits: Callable[[Volume], object] = lambda _: True, *, shared: bool = False
    ) -> Iterator[Volume | None]:
        """A volume that *suits* and that nobody else uses at the moment, or if *shared* nobody but who copies it.

        One on which something failed stays in use, so that nobody meets what is left of that and tells of it first.
        """
        with self._guard:
            free = [volume for volume in self._volumes if not volume.users or (shared and volume.users > 0)]
            found = [volume for volume in free if suits(volume)]
            volume = choice.choice(found) if found else None
            if volume is not None:
                volume.users = volume.users + 1 if shared else ALONE
        yield volume
        with self._guard:
            if volume is not None:
                volume.users = volume.users - 1 if shared else 0

    def _add(self, name: str, content: Content) -> None:
        with self._guard:
            self._volumes.append(Volume(name, content))

    def _full(self) -> bool:
        return len(self._volumes) >= _MOST_VOLUMES

    def _create(self, choice: random.Random) -> bool:
        if self._full():
            return False
        size = choice.randint(1, 2)
        self._add(self._ground.create(size), Content(size))
        return True

    def _write(self, choice: random.Random) -> bool:
        with self._some(choice) as volume:
            if volume is None:
                return False
            pieces = volume.now.size * self._ground.unit // PIECE
            with self._ground.open(volume.name, writable=True) as disk:
                for _ in range(choice.randint(1, 6)):
                    spot = choice.randrange(_SPOTS) * (pieces // _SPOTS)
                    for piece in range(spot, spot + choice.choice((1, 3, 64))):
                        stamp = next(self._stamps)
                        disk.write(piece * PIECE, stamped(stamp))
                        volume.now.stamps[piece] = stamp
                disk.flush()
            return True

    def _look(self, choice: random.Random) -> bool:
        with self._some(choice) as volume:
            if volume is None:
                return False
            self._compare(volume)
            return True

    def _snapshot(self, choice: random.Random) -> bool:
        with self._some(choice, lambda volume: len(volume.snapshots) < _MOST_SNAPSHOTS) as volume:
            if volume is None:
                return False
            volume.snapshots[self._ground.snapshot(volume.name)] = volume.now.copy()
            return True

    def _delete_snapshot(self, choice: random.Random) -> bool:
        with self._some(choice, lambda volume: volume.snapshots) as volume:
            if volume is None:
                return False
            self._drop(volume, choice.choice(list(volume.snapshots)))
            return True

    def _drop(self, volume: Volume, snapshot: str) -> None:
        self._ground.delete_snapshot(volume.name, snapshot)
        del volume.snapshots[snapshot]

    def _revert(self, choice: random.Random) -> bool:
        with self._some(choice, _can_revert) as volume:
            if volume is None:
                return False
            snapshot, content = list(volume.snapshots.items())[-1]
            self._ground.revert(volume.name, snapshot)
            volume.now = content.copy()
            return True

    def _clone(self, choice: random.Random) -> bool:
        with self._some(choice, shared=True) as volume:
            if volume is None or self._full():
                return False
            size = choice.randint(volume.now.size, _MOST_UNITS)
            self._add(self._ground.clone(volume.name, size), volume.now.copy(size))
            return True

    def _from_snapshot(self, choice: random.Random) -> bool:
        with self._some(choice, lambda volume: volume.snapshots, shared=True) as volume:
            if volume is None or self._full():
                return False
            snapshot, content = choice.choice(list(volume.snapshots.items()))
            size = choice.randint(content.size, _MOST_UNITS)
            self._add(self._ground.from_snapshot(volume.name, snapshot, size), content.copy(size))
            return True

    def _extend(self, choice: random.Random) -> bool:
        with self._some(choice, self._can_extend) as volume:
            if volume is None:
                return False
            self._ground.extend(volume.name, volume.now.size + 1)
            volume.now.size += 1
            return True

    def _can_extend(self, volume: Volume) -> bool:
        return volume.now.size < _MOST_UNITS and self._ground.can_extend(volume.name, len(volume.snapshots))

    def _migrate(self, choice: random.Random) -> bool:
        with self._some(choice, self._can_migrate) as volume:
            if volume is None:
                return False
            self._ground.migrate(volume.name)
            return True

    def _can_migrate(self, volume: Volume) -> bool:
        return not volume.snapshots and self._ground.can_migrate(volume.name)

    def _delete(self, choice: random.Random) -> bool:
        with self._some(choice) as volume:
            if volume is None:
                return False
            for snapshot in choice.sample(list(volume.snapshots), len(volume.snapshots)):
                self._drop(volume, snapshot)
            self._ground.delete(volume.name)
            with self._guard:
                self._volumes.remove(volume)
            return True

    # The oracle.

    def _compare(self, volume: Volume) -> None:
        self._check(volume.name, volume.now)

    def _compare_snapshot(self, volume: Volume, snapshot: str, content: Content) -> None:
        made = self._ground.from_snapshot(volume.name, snapshot, content.size)
        self._check(made, content)
        self._ground.delete(made)
        self.done["compare snapshots at the end"] += 1

    def _check(self, name: str, content: Content) -> None:
        size = content.size * self._ground.unit
        with self._ground.open(name) as disk:
            assert disk.size == size, f"{name} is {disk.size} bytes large, not {size}"
            for start in range(0, size, _AT_ONCE):
                found = disk.read(start, min(_AT_ONCE, size - start))
                self._check_part(name, content, start // PIECE, found)

    @staticmethod
    def _check_part(name: str, content: Content, first: int, found: bytes) -> None:
        expected = bytearray(len(found))
        for piece in range(first, first + len(found) // PIECE):
            if piece in content.stamps:
                place = (piece - first) * PIECE
                expected[place : place + PIECE] = stamped(content.stamps[piece])
        if expected != found:
            for place in range(0, len(found), PIECE):
                part = found[place : place + PIECE]
                assert part == expected[place : place + PIECE], (
                    f"{name}: at {first * PIECE + place} there is {part[:16].hex()}, "
                    f"and should be {bytes(expected[place : place + 16]).hex()}"
                )


def _can_revert(volume: Volume) -> bool:
    """Cinder refuses it after an extension."""
    return bool(volume.snapshots) and list(volume.snapshots.values())[-1].size == volume.now.size


_WEIGHED: list[tuple[str, Callable[[Load, random.Random], bool], int]] = [
    ("create", Load._create, 6),
    ("write", Load._write, 30),
    ("compare", Load._look, 10),
    ("snapshot", Load._snapshot, 12),
    ("delete snapshot", Load._delete_snapshot, 8),
    ("revert", Load._revert, 5),
    ("clone", Load._clone, 5),
    ("from snapshot", Load._from_snapshot, 5),
    ("extend", Load._extend, 5),
    ("migrate", Load._migrate, 4),
    ("delete", Load._delete, 5),
]


def until(seconds: float) -> Callable[[int], bool]:
    """Go on for so long."""
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() < end


def operations(count: int) -> Callable[[int], bool]:
    """Go on for so many operations."""
    return lambda done: done < count
