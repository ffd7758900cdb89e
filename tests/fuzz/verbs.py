"""The verbs that change images, and what every file has to read as when they succeed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.fuzz.laws import LARGEST, Contents, content, engine, readable
from tests.support.disks import MIB, counting_ids, pattern
from vhdx.image.base import CreateOptions, ImageFormat, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.engine import Direction, Shrink

Expect = Callable[[Contents, Sequence[str]], Contents]


class Verb(NamedTuple):
    """A verb done to the layers at some paths, leaf first, and what their disks are expected to read as then."""

    act: Callable[[FileSystem, Sequence[str]], object]
    expect: Expect
    layers: int = 1  # needed at least


def _same(before: Contents, paths: Sequence[str]) -> Contents:
    return dict(before)


def _leaf(change: Callable[[bytes], bytes]) -> Expect:
    """The leaf is another, the rest as it was."""

    def expect(before: Contents, paths: Sequence[str]) -> Contents:
        leaf = before[paths[0]]
        return {**before, paths[0]: None if leaf is None else change(leaf)}

    return expect


def _size(files: FileSystem, path: str) -> int:
    return engine().info(files, path).virtual_size


def _grow(files: FileSystem, paths: Sequence[str]) -> None:
    engine().resize(files, paths[0], _size(files, paths[0]) + MIB + 4096, any_size=True)


def _half(size: int) -> int:
    return size // 2 // 4096 * 4096


def _shrink(files: FileSystem, paths: Sequence[str]) -> None:
    engine().resize(files, paths[0], _half(_size(files, paths[0])), shrink=Shrink.FORCE, any_size=True)


def _shrink_unused(files: FileSystem, paths: Sequence[str]) -> None:
    size = _size(files, paths[0])
    engine().resize(files, paths[0], size - 4096, shrink=Shrink.UNUSED, any_size=True)


def _shrunk_unused(leaf: bytes) -> bytes:
    return leaf[:-4096]


def _merge(target: int, direction: Direction, *, remove: bool) -> Callable[[FileSystem, Sequence[str]], None]:
    def act(files: FileSystem, paths: Sequence[str]) -> None:
        plan = engine().plan_merge(files, paths[0], paths[target], direction=direction)
        result = engine().merge(files, paths[0], paths[target], direction=direction, shrink=Shrink.FORCE, remove=remove)
        assert result == plan.result

    return act


def _merged_down(target: int, *, remove: bool) -> Expect:
    def expect(before: Contents, paths: Sequence[str]) -> Contents:
        merged = before[paths[0]]
        after = {**before, **dict.fromkeys(paths[1:target]), paths[target]: merged}
        if remove:
            after |= dict.fromkeys(paths[:target])
        else:
            after[paths[0]] = None  # its parent is another now; the caller relinks or removes it
        return after

    return expect


def _merged_up(target: int, *, remove: bool) -> Expect:
    def expect(before: Contents, paths: Sequence[str]) -> Contents:
        return {**before, **(dict.fromkeys(paths[1 : target + 1]) if remove else {})}

    return expect


def _convert(options: CreateOptions | None) -> Callable[[FileSystem, Sequence[str]], None]:
    def act(files: FileSystem, paths: Sequence[str]) -> None:
        # What all of a huge disk would take to allocate is no question of its bytes.
        if options is None or not options.fixed or _size(files, paths[0]) <= LARGEST:
            engine().convert(files, paths[0], files, "new", options=options)

    return act


def _new(before: Contents, paths: Sequence[str]) -> Contents:
    return {**before, "new": before[paths[0]]}


def _salvage(files: FileSystem, paths: Sequence[str]) -> None:
    """A copy of what can be read; when it is said to be all of the disk, it is what a reader sees."""
    report = engine().salvage(files, paths[0], files, "new")
    seen = readable(files, paths[0])
    if report.complete and seen is not None:
        assert content(files, "new") == seen


def _salvaged(before: Contents, paths: Sequence[str]) -> Contents:
    return {**before, "new": None}


def _child(files: FileSystem, paths: Sequence[str]) -> None:
    engine().create_child(files, "new", paths[0])


def _relink(place: int) -> Callable[[FileSystem, Sequence[str]], None]:
    return lambda files, paths: engine().relink(files, paths[0], paths[place], force=place > 1)


def _relinked_lower(before: Contents, paths: Sequence[str]) -> Contents:
    return {**before, paths[0]: None}


def _set_parent(files: FileSystem, paths: Sequence[str]) -> None:
    """The parent's record written once more, and longer."""
    image = open_image(files.open(paths[0], Access.WRITE), new_id=counting_ids())
    try:
        link = image.info.parent
        if link is not None:
            longer = {**link.paths, "absolute_win32_path": "C:\\" + "x" * 900}
            image.set_parent(ParentLink(link.linkage, link.linkage2, longer))
    finally:
        image.close()


def _compact(place: int, *, scan: bool) -> Callable[[FileSystem, Sequence[str]], None]:
    return lambda files, paths: engine().compact(files, paths[place], scan=scan)


SPOT, LENGTH = 100_000, 9_000


def _write(files: FileSystem, paths: Sequence[str]) -> None:
    with engine().open_chain(files, paths[0], writable=1) as chain:
        chain.write(SPOT, pattern(77, LENGTH))
        chain.flush()
        chain.zero(SPOT + 200_000, LENGTH)


def _written(leaf: bytes) -> bytes:
    changed = bytearray(leaf)
    changed[SPOT : SPOT + LENGTH] = pattern(77, LENGTH)
    changed[SPOT + 200_000 : SPOT + 200_000 + LENGTH] = bytes(LENGTH)
    return bytes(changed)


VERBS = {
    "grow": Verb(_grow, _leaf(lambda leaf: leaf + bytes(MIB + 4096))),
    "shrink": Verb(_shrink, _leaf(lambda leaf: leaf[: _half(len(leaf))])),
    "shrink unused": Verb(_shrink_unused, _leaf(_shrunk_unused)),
    "write": Verb(_write, _leaf(_written)),
    "compact": Verb(_compact(0, scan=True), _same),
    "compact unscanned": Verb(_compact(0, scan=False), _same),
    "merge down": Verb(_merge(1, Direction.DOWN, remove=False), _merged_down(1, remove=False), 2),
    "merge down and remove": Verb(_merge(1, Direction.DOWN, remove=True), _merged_down(1, remove=True), 2),
    "merge all down": Verb(_merge(2, Direction.DOWN, remove=True), _merged_down(2, remove=True), 3),
    "merge up": Verb(_merge(1, Direction.UP, remove=False), _merged_up(1, remove=False), 2),
    "merge up and remove": Verb(_merge(1, Direction.UP, remove=True), _merged_up(1, remove=True), 2),
    "merge all up": Verb(_merge(2, Direction.UP, remove=True), _merged_up(2, remove=True), 3),
    "convert": Verb(_convert(None), _new),
    "convert to vhd": Verb(_convert(CreateOptions(format=ImageFormat.VHD)), _new),
    "convert to fixed": Verb(_convert(CreateOptions(fixed=True, block_size=MIB)), _new),
    "salvage": Verb(_salvage, _salvaged),
    "create child": Verb(_child, _new),
    "relink": Verb(_relink(1), _same, 2),
    "relink lower": Verb(_relink(2), _relinked_lower, 3),
    "set parent": Verb(_set_parent, _same),
}
