"""Every verb as a history to crash: what it starts from, and what is done while it is recorded.

A new verb is one function here, with the chance and the sizes of its history, and one line in the table.
"""

from collections.abc import Callable
from dataclasses import replace

from tests.crash.histories import History, Sizes, layered, some_range, some_size
from tests.support.disks import MIB

Scene = Callable[[History, Sizes], None]


def _write(history: History, sizes: Sizes) -> None:
    """Writes, zeros, discards and flushes on a leaf."""
    layered(history, history.chance.randrange(1, 3), sizes)
    history.record()
    for _ in range(sizes.steps):
        _change(history)
    history.close()


def _change(history: History) -> None:
    kind = history.chance.choice(("write", "write", "write", "zero", "discard", "flush", "reopen"))
    match kind:
        case "write":
            history.write(*some_range(history.chance, history.size))
        case "zero":
            history.zero(*some_range(history.chance, history.size))
        case "discard":
            history.discard(*some_range(history.chance, history.size))
        case "flush":
            history.flush()
        case "reopen":
            history.reopen()


def _create(history: History, sizes: Sizes) -> None:
    history.record()
    history.create(some_size(history.chance, sizes))


def _create_child(history: History, sizes: Sizes) -> None:
    layered(history, history.chance.randrange(1, 3), sizes)
    history.record()
    history.snapshot(some_size(history.chance, sizes) if history.chance.random() < 0.5 else None)


def _revert(history: History, sizes: Sizes) -> None:
    layered(history, 2, sizes)
    history.record()
    history.revert()


def _resize(history: History, sizes: Sizes) -> None:
    layered(history, history.chance.randrange(1, 3), sizes)
    history.record()
    history.resize(some_size(history.chance, sizes))
    history.resize(some_size(history.chance, sizes))


def _merge(history: History, sizes: Sizes) -> None:
    layers = history.chance.randrange(2, sizes.layers + 1)
    layered(history, layers, sizes)
    top = history.chance.randrange(layers - 1)
    target = history.chance.randrange(top + 1, layers)
    history.record()
    history.merge(top, target)


def _merge_and_remove(history: History, sizes: Sizes) -> None:
    layers = history.chance.randrange(2, sizes.layers + 1)
    layered(history, layers, sizes)
    top = history.chance.randrange(layers - 1)
    target = history.chance.randrange(top + 1, layers)
    history.record()
    history.merge_and_remove(top, target)


def _merge_up(history: History, sizes: Sizes) -> None:
    layers = history.chance.randrange(2, sizes.layers + 1)
    layered(history, layers, sizes)
    history.record()
    history.merge_up(0, history.chance.randrange(1, layers))


def _convert(history: History, sizes: Sizes) -> None:
    layered(history, history.chance.randrange(1, 4), sizes)
    history.record()
    history.convert(history.options)


def _compact(history: History, sizes: Sizes) -> None:
    chance = history.chance
    # Holes take many blocks, and a child has fewer, larger ones.
    layered(history, chance.choice((1, 1, 2)), replace(sizes, least=2 * MIB, most=2 * sizes.most))
    blocks = list(range(-(-history.size // MIB)))
    chance.shuffle(blocks)
    for block in blocks:
        history.write(block * MIB, min(MIB, history.size - block * MIB))
    for block in blocks[: chance.randrange(1, len(blocks) + 1)]:
        # Written zeros are for the scan to find, the others leave holes at once.
        length = min(MIB, history.size - block * MIB)
        chance.choice((history.zero, history.discard, history.write_zeros))(block * MIB, length)
    history.record()
    history.compact()


def _everything(history: History, sizes: Sizes) -> None:
    """Every verb after every other, on one disk."""
    chance = history.chance
    layered(history, chance.randrange(1, 3), sizes)
    history.record()
    for _ in range(sizes.steps):
        layers = len(history.paths)
        match chance.choice(("change", "change", "change", "snapshot", "merge", "resize", "compact", "revert")):
            case "snapshot" if layers < sizes.layers:
                history.snapshot(some_size(chance, sizes) if chance.random() < 0.3 else None)
            case "merge" if layers > 1:
                top = chance.randrange(layers - 1)
                target = chance.randrange(top + 1, layers)
                (history.merge if chance.random() < 0.6 else history.merge_up)(top, target)
            case "resize":
                history.resize(some_size(chance, sizes))
            case "compact":
                history.compact()
            case "revert" if layers > 1:
                history.revert()
            case _:
                _change(history)
    history.close()


VERBS: dict[str, Scene] = {
    "write": _write,
    "create": _create,
    "create child": _create_child,
    "revert": _revert,
    "resize": _resize,
    "merge": _merge,
    "merge and remove": _merge_and_remove,
    "merge up": _merge_up,
    "convert": _convert,
    "compact": _compact,
    "histories": _everything,
}
