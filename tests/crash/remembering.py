"""Parsing each structure once: thousands of crash states hold the same few, and a parse is a pure function of bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from vhdx.format.record import Record

_MOST = 1 << 14


@contextmanager
def remembered_parses() -> Iterator[None]:
    """While inside, `Record.parse` looks up what it has seen; its values are frozen, so nobody can tell."""
    parse = Record.parse
    known: dict[tuple[Record[object], bytes], object] = {}

    def remembered(self: Record[object], data: bytes | memoryview, offset: int | None = None) -> object:
        key = (self, bytes(data[: self.size]))
        if key not in known:
            # Only what parsed is kept, so where it lay makes no difference.
            if len(known) >= _MOST:
                known.clear()
            known[key] = parse(self, data, offset)
        return known[key]

    with patch.object(Record, "parse", remembered):
        yield
