"""Output of a salvage: lost ranges, and structures taken on trust."""

from collections.abc import Iterator
from typing import Any

from vhdx.cli.exits import Exit, Stop
from vhdx.cli.plain import exact_size, size_text
from vhdx.salvage.report import Salvaged

_MOST_LINES = 100


def salvage_lines(name: str, report: Salvaged) -> Iterator[str]:
    """Text output for the salvage of the disk *name*; at most a hundred lost ranges."""
    for note in report.notes:
        yield f"{note} [{'taken on trust' if note.on_trust else 'noted'}]"
    for lost in report.lost[:_MOST_LINES]:
        yield f"{name}: lost: {exact_size(lost.length)} at {lost.offset}: {lost.reason}"
    more = len(report.lost) - _MOST_LINES + report.unlisted
    if more > 0:
        yield f"{name}: {more} more lost ranges; --json lists {'them' if not report.unlisted else 'most of them'}"
    yield f"{name}: {_summary(report)}"


def _summary(report: Salvaged) -> str:
    if report.lost_bytes:
        return f"{size_text(report.lost_bytes)} of {size_text(report.size)} lost; they read as zeros in the new image"
    return "nothing was lost" if report.complete else "nothing is known to be lost, but structures were taken on trust"


def salvage_json(report: Salvaged) -> dict[str, Any]:
    """JSON output for a salvage."""
    return {
        "read": report.read,
        "lost_bytes": report.lost_bytes,
        "lost": [{"offset": lost.offset, "length": lost.length, "reason": lost.reason} for lost in report.lost],
        "unlisted": report.unlisted,
        "notes": [
            {
                "file": note.file,
                "structure": note.structure,
                "offset": note.offset,
                "message": note.message,
                "on_trust": note.on_trust,
            }
            for note in report.notes
        ],
    }


def end_salvage(name: str, report: Salvaged) -> None:
    """End the command with a special exit code unless the whole disk was copied for certain."""
    if not report.complete:
        raise Stop(Exit.SALVAGED, f"{name}: {_summary(report)}")
