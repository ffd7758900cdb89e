"""What would be wrong is noticed: each of these breaks one thing on purpose, and some crash state shows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from unittest.mock import patch

import pytest

from tests.crash.histories import History, Sizes
from tests.crash.judging import Judge, Tally
from tests.crash.test_exhaustive import SIZE
from tests.crash.verbs import VERBS
from tests.support.disks import MIB
from vhdx.image.base import Image, NewId
from vhdx.image.vhdx.headers import Headers
from vhdx.image.vhdx.journal import CommitOrder, LogJournal
from vhdx.image.vhdx.space import SpaceMap
from vhdx.storage.base import Storage
from vhdx.storage.forwarding import ForwardingStorage
from vhdx.verbs import merge as merging


def caught(histories: Iterator[History]) -> bool:
    """Whether any crash state of these is not as promised."""
    return any(True for history in histories for _ in Judge(history, Tally(), "broken").violations(exhaustive=6))


def histories(verb: str, seeds: range) -> Iterator[History]:
    """What the table of verbs makes of some seeds."""
    for seed in seeds:
        history = History(seed)
        VERBS[verb](history, Sizes())
        yield history


def remapped() -> Iterator[History]:
    """A part written into a block that was zeros, whose parent would come through: table and bitmap change together."""
    history = History()
    history.create(SIZE)
    history.write(0, SIZE)
    history.snapshot()
    history.write(0, 8192)
    history.record()
    history.zero(0, 2 * MIB)
    history.flush()
    history.write(4096, 4096)
    history.write(MIB, 4096)
    history.flush()
    history.zero(0, SIZE)
    history.close()
    yield history


def refilled() -> Iterator[History]:
    """A block given up, and another written at once."""
    history = History()
    history.create(3 * MIB)
    history.write(0, MIB)
    history.record()
    history.discard(0, MIB)
    history.write(MIB, MIB)
    history.close()
    yield history


@contextmanager
def wrong_order(order: CommitOrder) -> Iterator[None]:
    start = LogJournal.__init__

    def broken(
        self: LogJournal, storage: Storage, headers: Headers, new_id: NewId, _: CommitOrder
    ) -> None:
        start(self, storage, headers, new_id, order)

    with patch.object(LogJournal, "__init__", broken):
        yield


@pytest.mark.parametrize("order", [CommitOrder.PAGES_BEFORE_LOG, CommitOrder.LOG_BEFORE_PAYLOAD])
def test_a_wrong_commit_order(order: CommitOrder) -> None:
    with wrong_order(order):
        assert caught(chain(remapped(), histories("histories", range(12))))


def test_the_right_order_passes_the_same_histories(tally: Tally) -> None:
    for history in (*remapped(), *refilled()):
        assert not list(Judge(history, tally, "write", check_every=3).violations(exhaustive=6))


def test_space_reused_before_the_commit_that_freed_it_is_durable() -> None:
    with patch.object(SpaceMap, "release", SpaceMap.give_back):
        assert caught(refilled())


def without_flushes(function: Callable[..., None]) -> Callable[..., None]:
    """The same function on files whose flush does nothing."""

    def quiet(*arguments: object, **named: object) -> None:
        with patch.object(ForwardingStorage, "flush", lambda _: None):
            function(*arguments, **named)

    return quiet


@pytest.mark.parametrize("half", ["the record above", "the target"])
def test_a_merge_that_declares_itself_without_flushes(half: str) -> None:
    """Both have to be durable before the next thing is written: the layers agree, and other children are told."""
    declare = merging._declare

    def broken(above: Image, target: Image, new_id: NewId) -> None:
        image, method = (above, "set_parent") if half == "the record above" else (target, "begin")
        with patch.object(type(image), method, without_flushes(getattr(type(image), method))):
            declare(above, target, new_id)

    with patch.object(merging, "_declare", broken):
        assert caught(histories("merge", range(12)))


def test_headers_that_are_not_flushed() -> None:
    with patch.object(Headers, "update", without_flushes(Headers.update)):
        assert caught(histories("write", range(6)))
