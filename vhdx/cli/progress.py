"""Progress of long commands (a bar on a terminal, otherwise periodic lines), and safe interruption by Ctrl-C."""

import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import click

from vhdx.cli.plain import size_text
from vhdx.errors import Cancelled

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Do not show progress.")
silent_option = click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
progress_option = click.option(
    "-p", "--progress", is_flag=True, help="Show progress from the start, not only after a second."
)

_PATIENCE = 1.0
"""Seconds before progress is shown."""
_BETWEEN_LINES = 10.0


class Meter:
    """Progress of one verb. The first Ctrl-C stops it at the next safe point, the second one immediately.

    `report` raises Cancelled then, with *advice* about the resulting state. Nothing is shown if *quiet*, or in the
    first second unless *eager*.
    """

    def __init__(self, what: str, advice: str = "", *, quiet: bool = False, eager: bool = False) -> None:
        self._what = what
        self._advice = f"; {advice}" if advice else ""
        self._quiet = quiet
        self._started = self._told = time.monotonic()
        if eager:
            self._told -= _BETWEEN_LINES
        self._patience = 0.0 if eager else _PATIENCE
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._stop = self._can_stop = False
        self._handler: Any = None

    def __enter__(self) -> Self:
        self._handler = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        signal.signal(signal.SIGINT, self._handler)
        if self._bar is not None:
            self._bar.stop()
        if kind is KeyboardInterrupt:
            raise Cancelled(f"{self._what}: stopped immediately{self._advice}")

    def _interrupted(self, _: int, __: FrameType | None) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True
        what = "stopping at the next safe point" if self._can_stop else "finishing the current step"
        click.echo(f"\n{self._what}: {what}; press Ctrl-C again to stop immediately", err=True)

    def report(self, done: int, total: int) -> None:
        """Report *done* of *total* bytes. Raises Cancelled."""
        self._can_stop = True
        if self._stop:
            raise Cancelled(f"{self._what}: stopped after {size_text(done)} of {size_text(total)}{self._advice}")
        now = time.monotonic()
        if self._quiet or now - self._started < self._patience:
            return
        if sys.stderr.isatty():
            self._draw(done, total)
        elif now - self._told >= _BETWEEN_LINES:
            self._told = now
            click.echo(f"{self._what}: {_progress_text(done, total, now - self._started)}", err=True)

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = _new_bar()
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=total)
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=total)


def _new_bar() -> "Bar":
    from rich.console import Console  # noqa: PLC0415  only a terminal that waits needs it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _progress_text(done: int, total: int, seconds: float) -> str:
    percent = f"{100 * done // total} %" if total else "done"
    rate = done / seconds if seconds else 0.0
    left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
    return f"{percent} of {size_text(total)}, {size_text(int(rate))}/s{left}"
