"""Watches for `vhdx.storage.watched`: a `Fault` fails where it is told to."""

from dataclasses import dataclass

from vhdx.storage.watched import Operation, Tally, WatchedFileSystem, watched

__all__ = ["DATA_CHANGES", "NAME_CHANGES", "Fault", "Operation", "Tally", "WatchedFileSystem", "watched"]

DATA_CHANGES = frozenset({"write", "copy", "zero", "reserve", "truncate", "flush"})
NAME_CHANGES = frozenset({"create", "rename", "remove", "sync_directory"})


@dataclass(slots=True)
class Fault:
    """Raises *error* in place of changing operation number *at* (from 0), and of all later ones if it is *lasting*.

    *kinds* says which operations count as changing. *seen* is how many came by, *fired* whether it struck.
    """

    at: int
    error: BaseException
    lasting: bool = False
    kinds: frozenset[str] = DATA_CHANGES | NAME_CHANGES
    seen: int = 0
    fired: bool = False

    def __call__(self, operation: Operation) -> None:
        if operation.kind not in self.kinds:
            return
        number, self.seen = self.seen, self.seen + 1
        if number == self.at or (self.lasting and number > self.at):
            self.fired = True
            # One error is raised many times; with its traceback it would keep all that was on the way each time.
            raise self.error.with_traceback(None)
