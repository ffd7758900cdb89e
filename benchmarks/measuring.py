"""Contenders take turns at one piece of work: times, medians, ratios.

Every contender runs once unmeasured, and what that run made is verified; so a fast wrong answer does not count. Then
they alternate (A B A B ...), because whatever else the machine does comes and goes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter


def nothing() -> None:
    """Nothing to prepare, nothing to verify."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who can do the work. *run* is timed; *prepare* before each run and *verify* after the first are not.

    *verify* raises `WrongResult`.
    """

    name: str
    run: Callable[[], None]
    prepare: Callable[[], None] = nothing
    verify: Callable[[], None] = nothing


class WrongResult(Exception):
    """What a contender made is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Case:
    """One piece of work: *ours* first, then the peers.

    *floors* says for a peer's name how large ours divided by theirs may be, in time. *operations* is how many equal
    operations one run consists of.
    """

    name: str
    place: str
    contenders: Sequence[Contender]
    floors: dict[str, float] = field(default_factory=dict)
    operations: int = 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours beside one peer; *times* are in seconds, in the order of the rounds. Without a floor nothing can fail."""

    case: str
    place: str
    operations: int
    ours: str
    peer: str
    our_times: tuple[float, ...]
    peer_times: tuple[float, ...]
    floor: float | None

    @property
    def our_median(self) -> float:
        return median(self.our_times)

    @property
    def peer_median(self) -> float:
        return median(self.peer_times)

    @property
    def ratio(self) -> float:
        """Ours divided by theirs: below 1 is faster."""
        return self.our_median / self.peer_median

    @property
    def missed(self) -> bool:
        return self.floor is not None and self.ratio > self.floor


def measure(case: Case, repeats: int) -> list[Comparison]:
    """Verify every contender, then time *repeats* rounds. Raises WrongResult."""
    for contender in case.contenders:
        contender.prepare()
        contender.run()
        contender.verify()
    times: dict[str, list[float]] = {contender.name: [] for contender in case.contenders}
    for _ in range(repeats):
        for contender in case.contenders:
            contender.prepare()
            start = perf_counter()
            contender.run()
            times[contender.name].append(perf_counter() - start)
    ours, *peers = case.contenders
    return [
        Comparison(
            case=case.name,
            place=case.place,
            operations=case.operations,
            ours=ours.name,
            peer=peer.name,
            our_times=tuple(times[ours.name]),
            peer_times=tuple(times[peer.name]),
            floor=case.floors.get(peer.name),
        )
        for peer in peers
    ]
