"""What a salvage has to say: lost ranges, and what had to be taken on trust."""

from collections.abc import Iterator
from typing import Any

from vhdx.cli.exits import Exit, Stop
from vhdx.cli.plain import exact_size, size_text
from vhdx.salvage.report import Salvaged

_MOST_LINES = 100


def salvage_lines(name: str, report: Salvaged) -> Iterator[str]:
    """Lines for people about the salvage of the disk *name*; of the lost ranges at most a hundred."""
    for note in report.notes:
        yield f"{note} [{'taken on trust' if note.on_trust else 'noted'}]"
    for lost in report.lost[:_MOST_LINES]:
        yield f"{name}: lost: {exact_size(lost.length)} at {lost.offset}: {lost.reason}"
    more = len(report.lost) - _MOST_LINES + report.unlisted
    if more > 0:
        yield f"{name}: {more} more ranges are lost; --json lists {'them' if not report.unlisted else 'most of them'}"
    yield f"{name}: {_summary(report)}"


def _summary(report: Salvaged) -> str:
    if report.lost_bytes:
        return f"{size_text(report.lost_bytes)} of {size_text(report.size)} lost, zeros in the new image"
    return "nothing was lost" if report.complete else "nothing is known to be lost, but structures were taken on trust"


def salvage_json(report: Salvaged) -> dict[str, Any]:
    """The same with all that is known."""
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
    """Ends the command with a code of its own unless all of the disk is there for certain."""
    if not report.complete:
        raise Stop(Exit.SALVAGED, f"{name}: {_summary(report)}")
