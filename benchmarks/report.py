"""Comparisons as a table for people and as JSON for programs."""

import json
import platform
from collections.abc import Iterable

from benchmarks.measuring import Comparison

HEADINGS = ("work", "where", "ours", "", "peer", "", "ours/peer", "at most", "")


def table(comparisons: Iterable[Comparison]) -> str:
    """One line for each comparison."""
    rows = [HEADINGS, *map(_row, comparisons)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(found: Comparison) -> tuple[str, ...]:
    return (
        found.case,
        found.place,
        found.ours,
        _duration(found.our_median / found.operations),
        found.peer,
        _duration(found.peer_median / found.operations),
        f"{found.ratio:.2f}",
        "" if found.floor is None else f"{found.floor:.2f}",
        "" if found.floor is None else "MISSED" if found.missed else "ok",
    )


def _duration(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def document(comparisons: Iterable[Comparison], settings: dict[str, object]) -> str:
    """Everything that was measured, as JSON."""
    machine = {"machine": platform.machine(), "system": platform.platform(), "python": platform.python_version()}
    measured = [
        {
            "work": found.case,
            "where": found.place,
            "operations": found.operations,
            "ours": {"name": found.ours, "seconds": found.our_times, "median": found.our_median},
            "peer": {"name": found.peer, "seconds": found.peer_times, "median": found.peer_median},
            "ratio": found.ratio,
            "floor": found.floor,
            "passed": None if found.floor is None else not found.missed,
        }
        for found in comparisons
    ]
    return json.dumps({"settings": settings, "machine": machine, "comparisons": measured}, indent=2)
