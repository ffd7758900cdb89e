"""What an undo file covers comes back byte for byte, whatever was done and wherever it was stopped."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.choice import examples
from tests.support.crash import crash_states
from tests.support.memory import MemoryFileSystem, Pages
from tests.support.recording import RecordingFileSystem
from vhdx.errors import FormatError
from vhdx.repair.undo import HEADER_SIZE, RECORD, guarded
from vhdx.repair.undo_file import Undo
from vhdx.storage import transfer
from vhdx.storage.base import Access, FileSystem, Move, Storage
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.transfer import pread

MIB = 1 << 20
Step = Callable[[Storage], None]


def content(files: FileSystem, path: str = "file") -> bytes:
    storage = files.open(path, Access.INSPECT)
    try:
        return pread(storage, 0, storage.size())
    finally:
        storage.close()


def put(files: FileSystem, data: bytes, path: str = "file") -> None:
    storage = files.create(path)
    storage.write([(0, data)])
    storage.flush()
    storage.close()


def change(files: FileSystem, steps: list[Step]) -> None:
    file, saved = files.open("file", Access.WRITE), files.create("undo")
    kept = guarded(file, saved)
    files.sync_directory("")
    for step in steps:
        step(kept)
    kept.close()
    file.close()
    saved.close()


def put_back(files: FileSystem) -> None:
    file, saved = files.open("file", Access.WRITE), files.open("undo", Access.READ)
    try:
        found = Undo.read(saved)
        if found is not None:
            found.put_back(file)
    finally:
        file.close()
        saved.close()


def write(offset: int, length: int, mark: int) -> Step:
    return lambda storage: storage.write([(offset, bytes([mark]) * length), (offset + length + 7, bytes([mark]))])


def zero(offset: int, length: int) -> Step:
    def step(storage: Storage) -> None:
        start = min(offset, storage.size())
        transfer.zero(storage, [(start, min(length, storage.size() - start))])

    return step


def copy(source: int, target: int, length: int) -> Step:
    def step(storage: Storage) -> None:
        size = min(length, abs(target - source), max(storage.size() - source, 0))
        transfer.copy(storage, storage, [Move(source, target, size)] if size else [])

    return step


def truncate(size: int) -> Step:
    return lambda storage: storage.truncate(size)


def reserve(offset: int, length: int) -> Step:
    def step(storage: Storage) -> None:
        transfer.reserve(storage, [(max(offset, storage.size()), length)])

    return step


def flush() -> Step:
    return lambda storage: storage.flush()


places, lengths = st.integers(0, 40_000), st.integers(1, 9_000)
steps = st.one_of(
    st.builds(write, places, lengths, st.integers(1, 255)),
    st.builds(zero, places, lengths),
    st.builds(copy, places, places, lengths),
    st.builds(truncate, places),
    st.builds(reserve, places, lengths),
    st.builds(flush),
)
contents = st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)).map(
    lambda sizes: bytes(at % 250 + 1 for at in range(sizes[0])) + bytes(sizes[1])
)


@settings(max_examples=examples(150), deadline=None)
@given(contents, st.lists(steps, max_size=12), st.booleans())
def test_everything_comes_back(before: bytes, steps: list[Step], optional: bool) -> None:
    files, plain = MemoryFileSystem(optional=optional), MemoryFileSystem()
    put(files, before)
    put(plain, before)
    change(files, steps)
    change(plain, steps)
    assert content(files) == content(plain), "the same is done with and without optional operations"
    for _ in range(2):
        put_back(files)
        assert content(files) == before


@settings(max_examples=examples(40), deadline=None)
@given(contents, st.lists(steps, min_size=1, max_size=5), st.integers(0, 1 << 30))
def test_everything_comes_back_after_a_crash_of_either(before: bytes, steps: list[Step], seed: int) -> None:
    files = MemoryFileSystem()
    put(files, before)
    recorder = RecordingFileSystem(files)
    change(recorder, steps)
    states = [*crash_states(recorder, samples=40, seed=seed)]
    for state in states:
        if "undo" in state.files.paths():
            put_back(state.files)
        assert content(state.files) == before, state.description
    again = RecordingFileSystem(recorder.files)
    put_back(again)
    for state in crash_states(again, samples=40, seed=seed):
        put_back(state.files)
        assert content(state.files) == before, state.description


def test_each_byte_is_saved_once_and_holes_cost_nothing() -> None:
    files = MemoryFileSystem()
    put(files, bytes(MIB) + b"\1" * MIB)
    grow = files.open("file", Access.WRITE)
    grow.truncate(64 * MIB)
    grow.close()
    steps = [write(MIB, 100_000, 5)] * 4 + [truncate(MIB + 50_000), truncate(3 * MIB), write(MIB, MIB, 9)]
    change(files, steps)
    assert files.stat("undo").size < HEADER_SIZE + MIB + 16 * RECORD.size
    put_back(files)
    assert content(files) == bytes(MIB) + b"\1" * MIB + bytes(62 * MIB)


def test_more_than_is_held_in_memory_at_once() -> None:
    files = MemoryFileSystem()
    before = b"".join(number.to_bytes(4, "little") * 1024 for number in range(9 * 256))
    put(files, before)
    change(files, [zero(100, 40 * MIB)])
    assert content(files) == before[:100] + bytes(len(before) - 100)
    put_back(files)
    assert content(files) == before


def test_on_a_real_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    files = LocalFileSystem(tmp_path_factory.mktemp("undo"))
    before = bytes(range(1, 250)) * 3000
    put(files, before)
    change(files, [write(100, 5000, 3), copy(0, 300_000, 70_000), zero(20_000, 65_536), truncate(400_000)])
    assert content(files) != before
    put_back(files)
    assert content(files) == before


class TestRefusals:
    def make(self) -> MemoryFileSystem:
        files = MemoryFileSystem()
        put(files, b"\7" * 5000)
        change(files, [write(100, 50, 1), write(6000, 10, 2)])
        return files

    def refused(self, files: MemoryFileSystem, words: str) -> None:
        before = content(files)
        with pytest.raises(FormatError, match=words):
            put_back(files)
        assert content(files) == before

    def test_another_file(self) -> None:
        files = self.make()
        files.remove("file")
        put(files, b"\x08" * 5000)
        self.refused(files, "belongs to a different file")

    def test_a_file_changed_since(self) -> None:
        files = self.make()
        file = files.open("file", Access.WRITE)
        file.write([(3000, b"new")])
        file.close()
        self.refused(files, "was modified since")

    @pytest.mark.parametrize("size", [4000, 7000])
    def test_a_file_of_another_length(self, size: int) -> None:
        files = self.make()
        file = files.open("file", Access.WRITE)
        file.truncate(size)
        file.close()
        self.refused(files, f"the file has {size} bytes")

    @pytest.mark.parametrize("data", [b"x", b"vhdxundo" + bytes(600), bytes(600)])
    def test_no_undo_file(self, data: bytes) -> None:
        files = self.make()
        files.remove("undo")
        put(files, data, "undo")
        self.refused(files, "not an undo file")

    def test_damage_that_no_stop_leaves(self) -> None:
        files = MemoryFileSystem({"file": Pages(b"\7" * 20 * MIB)})
        change(files, [write(0, 20 * MIB, 1)])
        saved = files.open("undo", Access.WRITE)
        saved.write([(HEADER_SIZE + 2000, b"damage")])
        saved.close()
        self.refused(files, "is damaged")


@pytest.mark.parametrize("length", [0, 512])
def test_an_undo_file_that_was_never_begun_covers_nothing(length: int) -> None:
    files = MemoryFileSystem()
    put(files, b"\7" * 5000)
    put(files, bytes(length), "undo")
    put_back(files)
    assert content(files) == b"\7" * 5000
