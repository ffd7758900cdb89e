"""Runs of table entries say the same as the entries one by one."""

from hypothesis import given
from hypothesis import strategies as st

from vhdx.dump.pending import Pending
from vhdx.dump.runs import Run, runs
from vhdx.dump.words import numbers, size_text
from vhdx.format.log import PAGE, ZeroRange

tables = st.lists(st.one_of(st.just(0), st.integers(0, 12), st.integers(0, 4).map(lambda n: n * 10 + 7)), max_size=60)


def expanded(found: list[Run]) -> list[int]:
    return [run.raw + number * run.step for run in found for number in range(run.length)]


@given(tables, st.integers(1, 12), st.integers(0, 3), st.integers(1, 20))
def test_runs_expand_to_the_table(table: list[int], stride: int, slack: int, period: int) -> None:
    used = [(index, raw) for index, raw in enumerate(table) if raw]
    edge = lambda index: (index // period + 1) * period  # noqa: E731
    found = list(runs(used, 0, len(table), blank=0, stride=stride, slack=slack, edge=edge))
    assert expanded(found) == table
    for run in found:
        assert run.length > 0
        assert not run.raw or run.end <= edge(run.first)
        assert run.length == 1 or not run.step or stride <= run.step <= stride + slack


@given(st.integers(0, 3), st.integers(1, 5), st.integers(1, 30))
def test_what_goes_on_is_one_run(first: int, stride: int, count: int) -> None:
    used = [(first + number, 5 + number * stride) for number in range(count)]
    total = first + count
    found = list(runs(used, 0, total, blank=0, stride=stride, edge=lambda _: total))
    assert len([run for run in found if run.raw]) == 1


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=12), st.integers(0, 50), st.integers(0, 30))
def test_pages_to_be_changed_are_counted(changes: list[tuple[int, int]], start: int, length: int) -> None:
    pending = Pending([ZeroRange(page * PAGE, count * PAGE) for page, count in changes])
    touched = {page + number for page, count in changes for number in range(count)}
    expected = len(touched & set(range(start, start + length)))
    note = pending.note(start * PAGE, length * PAGE)
    assert (f"change {expected} page" in note) if expected else not note


def test_words() -> None:
    sizes = {0: "0 bytes", 1: "1 byte", 1024: "1 KiB", 1536: "1.50 KiB", 32 << 20: "32 MiB"}
    assert {size: size_text(size) for size in sizes} == sizes
    assert numbers(3, 1, "block") == "block 3"
    assert numbers(3, 4, "entry", "entries") == "entries 3..6"
