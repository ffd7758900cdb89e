"""The storage contract, one promise after the other, against every transport."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.choice import examples
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from tests.support.wrappers import Tally, WatchedFileSystem, watched
from vhdx.errors import FormatError, InUse, LeadsOutside, ReadOnly
from vhdx.repair.sketch import SketchStorage
from vhdx.storage import transfer
from vhdx.storage.base import Access, Can, Capabilities, FileSystem, Move, Storage, Unsupported
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.overlay import OverlayStorage
from vhdx.storage.transfer import pread, pwrite

KIB, MIB = 1 << 10, 1 << 20
SMB = pytest.param("smb", marks=pytest.mark.smb)


def make_files(kind: str, request: pytest.FixtureRequest, directory: Path) -> FileSystem:
    match kind:
        case "memory":
            return MemoryFileSystem()
        case "memory-plain":
            return MemoryFileSystem(optional=False)
        case "recording":
            return RecordingFileSystem()
        case "watched":
            return WatchedFileSystem(LocalFileSystem(directory), Tally())
        case "local":
            return LocalFileSystem(directory)
    # Asked for by name and only here, so that the other transports do not need a server.
    return cast(FileSystem, request.getfixturevalue("smb_files"))


@pytest.fixture(params=["memory", "memory-plain", "recording", "watched", "local", SMB])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    return make_files(request.param, request, tmp_path)


Reader = Callable[[bytes], Storage]


@pytest.fixture(params=["overlay", "memory", "memory-plain", "recording", "watched", "local", SMB])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    """Makes a storage for reading that holds given bytes."""
    overlaid = request.param == "overlay"
    files = make_files("memory" if overlaid else request.param, request, tmp_path)
    opened: list[Storage] = []

    def read(content: bytes) -> Storage:
        put(files, "file", b"wrong" * (len(content) // 9) if overlaid else content)
        storage = files.open("file", Access.READ)
        if overlaid:
            half = len(content) // 2
            storage = OverlayStorage(storage, [(0, 10), (half, content[half:]), (0, content[:half])], size=len(content))
        opened.append(storage)
        return storage

    yield read
    for storage in opened:
        storage.close()


def put(files: FileSystem, path: str, content: bytes) -> None:
    storage = files.create(path)
    pwrite(storage, 0, content)
    storage.close()


def content(files: FileSystem, path: str) -> bytes:
    storage = files.open(path, Access.INSPECT)
    try:
        return pread(storage, 0, storage.size())
    finally:
        storage.close()


def pattern(length: int, seed: int = 1) -> bytes:
    """Bytes that differ from place to place, none of them zero."""
    unit = bytes((at * seed) % 251 + 1 for at in range(251 * 4))
    return (unit * (length // len(unit) + 1))[:length]


def optional(operation: Callable[[], object]) -> None:
    """Do an optional operation; a storage that may refuse it ends the test here."""
    try:
        operation()
    except Unsupported as error:
        pytest.skip(f"this storage leaves the operation to the fallback: {error}")


# --- reading ---------------------------------------------------------------------------------------------------------


def test_read_fills_every_buffer_from_its_offset(reader: Reader) -> None:
    data = pattern(100 * KIB)
    storage = reader(data)
    places = [(70_000, 5000), (0, 1), (4096, 4096), (4095, 2), (100 * KIB - 3, 3), (8192, 300)]
    buffers = [bytearray(length) for _, length in places]
    storage.read([(offset, memoryview(buffer)) for (offset, _), buffer in zip(places, buffers, strict=True)])
    assert [bytes(buffer) for buffer in buffers] == [data[offset : offset + length] for offset, length in places]


def test_read_of_neighbours_in_one_call(reader: Reader) -> None:
    data = pattern(64 * KIB)
    room = bytearray(len(data))
    view = memoryview(room)
    cuts = [0, 1, 513, 4096, 4097, 40_000, len(data)]
    storage = reader(data)
    storage.read([(start, view[start:end]) for start, end in pairwise(cuts)])
    assert room == data


def test_read_more_than_one_request_can_carry(reader: Reader) -> None:
    data = pattern(3 * MIB + 17)
    assert pread(reader(data), 0, len(data)) == data


def test_read_of_nothing(reader: Reader) -> None:
    storage = reader(b"abc")
    storage.read([])
    storage.read([(1, memoryview(bytearray()))])
    assert pread(storage, 3, 0) == b""


@pytest.mark.parametrize(("offset", "length"), [(0, 101), (99, 2), (100, 1), (5000, 10), (1 << 40, 1)])
def test_read_past_the_end_is_a_format_error_that_names_the_file(reader: Reader, offset: int, length: int) -> None:
    storage = reader(pattern(100))
    with pytest.raises(FormatError) as caught:
        pread(storage, offset, length)
    assert caught.value.file == storage.name
    assert caught.value.structure == "file"


def test_size(reader: Reader) -> None:
    assert reader(pattern(12_345)).size() == 12_345


def test_what_is_opened_for_reading_refuses_every_change(reader: Reader) -> None:
    storage = reader(pattern(8192))
    assert not storage.writable
    changes: Sequence[Callable[[], None]] = (
        lambda: pwrite(storage, 0, b"x"),
        lambda: storage.truncate(1),
        lambda: transfer.zero(storage, [(0, 1)]),
        lambda: transfer.reserve(storage, [(0, 1)]),
        lambda: transfer.copy(storage, storage, [Move(0, 4096, 10)]),
    )
    for change in changes:
        with pytest.raises(ReadOnly):
            change()
    assert pread(storage, 0, 8192) == pattern(8192)


def test_flush_of_what_is_opened_for_reading_does_nothing(reader: Reader) -> None:
    reader(b"abc").flush()


def test_close_twice(reader: Reader) -> None:
    storage = reader(b"abc")
    storage.close()
    storage.close()


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_new_file_is_empty_and_writable(files: FileSystem) -> None:
    storage = files.create("file")
    assert storage.size() == 0
    assert storage.writable
    storage.close()
    assert content(files, "file") == b""


def test_write_puts_every_piece_at_its_offset(files: FileSystem) -> None:
    storage = files.create("file")
    storage.write([(5000, b"later"), (10, bytearray(b"array")), (5005, memoryview(b"right behind")), (0, b"")])
    model = bytearray(5017)
    model[5000:5017] = b"laterright behind"
    model[10:15] = b"array"
    assert pread(storage, 0, storage.size()) == model
    storage.close()


def test_write_of_nothing_does_not_grow_the_file(files: FileSystem) -> None:
    storage = files.create("file")
    storage.write([])
    storage.write([(1000, b"")])
    assert storage.size() == 0
    storage.close()


def test_write_more_than_one_request_can_carry(files: FileSystem) -> None:
    data = pattern(3 * MIB + 17)
    storage = files.create("file")
    pwrite(storage, 5, data)
    assert pread(storage, 0, storage.size()) == bytes(5) + data
    storage.close()


def test_many_small_pieces_in_one_call(files: FileSystem) -> None:
    data = pattern(3000)
    storage = files.create("file")
    storage.write([(at, data[at : at + 1]) for at in range(3000)])
    assert pread(storage, 0, 3000) == data
    storage.close()


def test_another_storage_of_the_file_sees_what_was_written(files: FileSystem) -> None:
    storage = files.create("file")
    onlooker = files.open("file", Access.INSPECT)
    pwrite(storage, 0, b"seen")
    assert pread(onlooker, 0, 4) == b"seen"
    onlooker.close()
    storage.close()


def test_what_was_flushed_is_there_when_opened_again(files: FileSystem) -> None:
    storage = files.create("file")
    pwrite(storage, 0, b"kept")
    storage.flush()
    storage.close()
    assert content(files, "file") == b"kept"


def test_truncate_cuts_and_grows_with_zeros(files: FileSystem) -> None:
    storage = files.create("file")
    pwrite(storage, 0, pattern(10_000))
    storage.truncate(4500)
    assert storage.size() == 4500
    storage.truncate(20_000)
    assert storage.size() == 20_000
    assert pread(storage, 0, 20_000) == pattern(4500) + bytes(15_500)
    storage.close()


@pytest.mark.parametrize(("offset", "length"), [(0, 20_000), (1, 2), (4096, 8192), (4000, 5000), (19_999, 1), (7, 0)])
def test_zero_makes_a_range_read_as_zeros_and_nothing_else(files: FileSystem, offset: int, length: int) -> None:
    storage = files.create("file")
    pwrite(storage, 0, pattern(20_000))
    optional(lambda: storage.zero([(offset, length)]))
    model = bytearray(pattern(20_000))
    model[offset : offset + length] = bytes(length)
    assert storage.size() == 20_000
    assert pread(storage, 0, 20_000) == model
    storage.close()


def test_reserve_keeps_what_is_there_and_grows_the_file_with_zeros(files: FileSystem) -> None:
    storage = files.create("file")
    pwrite(storage, 0, pattern(5000))
    storage.truncate(50_000)
    optional(lambda: storage.reserve([(0, 10_000), (60_000, 10_000)]))
    assert pread(storage, 0, storage.size()) == pattern(5000) + bytes(65_000)
    storage.close()


def test_reserve_really_allocates(files: FileSystem) -> None:
    storage = files.create("file")
    optional(lambda: storage.reserve([(0, MIB)]))
    storage.flush()
    assert files.stat("file").allocated >= MIB
    storage.close()


def test_allocated_leaves_out_only_what_reads_as_zeros(files: FileSystem) -> None:
    storage = files.create("file")
    storage.truncate(8 * MIB)
    storage.write([(MIB, pattern(10_000)), (5 * MIB, pattern(1))])
    storage.flush()
    optional(lambda: list(storage.allocated(0, 8 * MIB)))
    for offset, length in ((0, 8 * MIB), (MIB + 5, 100), (MIB + 5, 4 * MIB), (7 * MIB, 5 * MIB)):
        ranges = list(storage.allocated(offset, length))
        ends = [offset, *(piece.end for piece in ranges)]
        assert all(piece.length > 0 and before <= piece.offset for before, piece in zip(ends, ranges, strict=False))
        assert ends[-1] <= offset + length
        data = bytearray(pread(storage, offset, min(length, 8 * MIB - offset)))
        for piece in ranges:
            start = piece.offset - offset
            data[start : start + piece.length] = bytes(len(data[start : start + piece.length]))
        assert not any(data)
    storage.close()


def test_copy_between_files(files: FileSystem) -> None:
    put(files, "source", pattern(3 * MIB))
    source, target = files.open("source", Access.READ), files.create("target")
    pwrite(target, 0, pattern(4 * MIB, seed=3))
    moves = [Move(0, MIB + 1, 70_000), Move(2 * MIB, 0, 4096), Move(MIB, 4 * MIB - 5, MIB), Move(5, 5, 0)]
    optional(lambda: target.copy(source.innermost(), moves))
    model = bytearray(pattern(4 * MIB, seed=3)) + bytearray(MIB - 5)
    for start, to, length in moves:
        model[to : to + length] = pattern(3 * MIB)[start : start + length]
    assert pread(target, 0, target.size()) == model
    assert pread(source, 0, source.size()) == pattern(3 * MIB)
    source.close()
    target.close()


def test_copy_inside_one_file(files: FileSystem) -> None:
    storage = files.create("file")
    pwrite(storage, 0, pattern(MIB))
    optional(lambda: storage.copy(storage.innermost(), [Move(0, MIB, 512 * KIB), Move(512 * KIB, 2 * MIB, 512 * KIB)]))
    data = pattern(MIB)
    assert pread(storage, 0, storage.size()) == data + data[: 512 * KIB] + bytes(512 * KIB) + data[512 * KIB :]
    storage.close()


def test_copy_from_past_the_end_is_refused(files: FileSystem) -> None:
    put(files, "source", pattern(5000))
    source, target = files.open("source", Access.READ), files.create("target")
    with pytest.raises((FormatError, Unsupported)):
        target.copy(source.innermost(), [Move(4000, 0, 5000)])
    with pytest.raises(FormatError):
        transfer.copy(source, target, [Move(4000, 0, 5000)])
    source.close()
    target.close()


def test_copy_from_something_else_is_left_to_the_fallback(files: FileSystem) -> None:
    other = MemoryFileSystem()
    put(other, "source", pattern(5000))
    source, target = OverlayStorage(other.open("source", Access.READ), []), files.create("target")
    with pytest.raises(Unsupported):
        target.copy(source, [Move(0, 0, 5000)])
    transfer.copy(source, target, [Move(0, 0, 5000)])
    assert pread(target, 0, target.size()) == pattern(5000)
    source.close()
    target.close()


# --- who may open what -----------------------------------------------------------------------------------------------

EXCLUDED = {
    (held, wanted)
    for held in (Access.READ, Access.WRITE, Access.OWN)
    for wanted in (Access.READ, Access.WRITE, Access.OWN)
    if held.writes or wanted.writes
}


@pytest.mark.parametrize("held", Access)
@pytest.mark.parametrize("wanted", Access)
def test_who_may_open_a_file_beside_whom(files: FileSystem, held: Access, wanted: Access) -> None:
    put(files, "file", b"content")
    holder = files.open("file", held)
    if (held, wanted) in EXCLUDED:
        with pytest.raises(InUse, match="file"):
            files.open("file", wanted)
        holder.close()
    again = files.open("file", wanted)
    assert pread(again, 0, 7) == b"content"
    again.close()
    holder.close()


def test_a_file_that_is_being_made_is_held_for_writing(files: FileSystem) -> None:
    maker = files.create("file")
    for access in (Access.WRITE, Access.READ):
        with pytest.raises(InUse):
            files.open("file", access)
    maker.close()
    files.open("file", Access.WRITE).close()


@pytest.mark.parametrize("held", [Access.READ, Access.WRITE])
def test_a_held_file_keeps_its_name(files: FileSystem, held: Access) -> None:
    put(files, "held", b"held")
    put(files, "other", b"other")
    holder = files.open("held", held)
    with pytest.raises(InUse):
        files.remove("held")
    with pytest.raises(InUse):
        files.rename("held", "new", replace=False)
    with pytest.raises(InUse):
        files.rename("other", "held", replace=True)
    holder.close()
    assert {name: content(files, name) for name in files.list("")} == {"held": b"held", "other": b"other"}


# --- names -----------------------------------------------------------------------------------------------------------


def test_what_is_not_there(files: FileSystem) -> None:
    for access in Access:
        with pytest.raises(FileNotFoundError):
            files.open("missing", access)
    with pytest.raises(FileNotFoundError):
        files.stat("missing")
    with pytest.raises(FileNotFoundError):
        files.remove("missing")
    for replace in (False, True):
        with pytest.raises(FileNotFoundError):
            files.rename("missing", "new", replace=replace)
    assert files.list("") == []


def test_create_leaves_an_existing_file_alone(files: FileSystem) -> None:
    put(files, "file", b"precious")
    with pytest.raises(FileExistsError):
        files.create("file")
    assert content(files, "file") == b"precious"


def test_rename_keeps_the_file_and_its_identity(files: FileSystem) -> None:
    put(files, "old", b"content")
    identity = files.stat("old").identity
    files.rename("old", "new", replace=False)
    files.sync_directory("")
    assert files.list("") == ["new"]
    assert content(files, "new") == b"content"
    assert files.stat("new").identity == identity


def test_rename_does_not_replace_unless_told(files: FileSystem) -> None:
    put(files, "source", b"source")
    put(files, "target", b"target")
    with pytest.raises(FileExistsError):
        files.rename("source", "target", replace=False)
    assert (content(files, "source"), content(files, "target")) == (b"source", b"target")
    files.rename("source", "target", replace=True)
    assert files.list("") == ["target"]
    assert content(files, "target") == b"source"


@pytest.mark.parametrize("replace", [False, True])
def test_rename_to_a_free_name(files: FileSystem, replace: bool) -> None:
    put(files, "source", b"source")
    files.rename("source", "target", replace=replace)
    assert files.list("") == ["target"]


def test_remove(files: FileSystem) -> None:
    put(files, "one", b"")
    put(files, "two", b"")
    files.remove("one")
    files.sync_directory("")
    assert files.list("") == ["two"]
    put(files, "one", b"again")
    assert content(files, "one") == b"again"


def test_list_is_sorted(files: FileSystem) -> None:
    names = ["b.vhdx", "a.vhdx", "c", "volume-1.info", "é and space"]
    for name in names:
        put(files, name, b"")
    assert files.list("") == sorted(names)


def test_stat(files: FileSystem) -> None:
    put(files, "one", pattern(100_000))
    put(files, "two", b"")
    one, two = files.stat("one"), files.stat("two")
    assert (one.size, two.size) == (100_000, 0)
    assert one.identity != two.identity
    assert hash(one.identity) == hash(files.stat("one").identity)
    assert one.allocated >= 0
    assert one.modified >= 0


def test_space(files: FileSystem) -> None:
    space = files.space()
    assert 0 < space.free <= space.total


def test_a_storage_is_named_as_its_file_system_describes_it(files: FileSystem) -> None:
    storage = files.create("file")
    assert storage.name == files.describe("file")
    assert storage.name.endswith("file")
    storage.close()


# --- anything in any order -------------------------------------------------------------------------------------------

LIMIT = 20_000
places = st.tuples(st.integers(0, LIMIT), st.integers(0, 6000))
operations = st.one_of(
    st.tuples(st.just("write"), st.lists(places, max_size=3)),
    st.tuples(st.just("zero"), st.lists(places, max_size=2)),
    st.tuples(st.just("reserve"), st.lists(places, max_size=2)),
    st.tuples(st.just("truncate"), st.lists(places, min_size=1, max_size=1)),
    st.tuples(st.just("copy"), st.lists(places, min_size=2, max_size=2)),
    st.tuples(st.just("flush"), st.just([])),
    st.tuples(st.just("reopen"), st.just([])),
)


class Model:
    """The dumbest file: a bytearray."""

    def __init__(self) -> None:
        self.data = bytearray()

    def put(self, offset: int, data: bytes) -> None:
        if data:
            self.data.extend(bytes(max(0, offset + len(data) - len(self.data))))
            self.data[offset : offset + len(data)] = data

    def clipped(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        size = len(self.data)
        return [(min(offset, size), max(0, min(length, size - offset))) for offset, length in ranges]

    def holes(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The ranges that read as zeros: a fallback may reserve only those."""
        return [(offset, length) for offset, length in ranges if not any(self.data[offset : offset + length])]


def perform(storage: Storage, model: Model, kind: str, ranges: list[tuple[int, int]], seed: int) -> None:
    match kind:
        case "write":
            # Pieces of one call may land in any order, so only calls of their own may overlap.
            for offset, length in ranges:
                data = pattern(length, seed)
                pwrite(storage, offset, data)
                model.put(offset, data)
        case "zero":
            inside = model.clipped(ranges)
            transfer.zero(storage, inside)
            for offset, length in inside:
                model.put(offset, bytes(length))
        case "reserve":
            free = model.holes(ranges)
            transfer.reserve(storage, free)
            for offset, length in free:
                model.put(offset, bytes(length))
        case "truncate":
            size = ranges[0][0]
            storage.truncate(size)
            model.data[size:] = bytes(max(0, size - len(model.data)))
        case "copy":
            (start, length), (target, _) = model.clipped(ranges[:1])[0], ranges[1]
            if target >= start + length or target + length <= start:
                transfer.copy(storage, storage, [Move(start, target, length)], buffer=1000)
                model.put(target, bytes(model.data[start : start + length]))
        case "flush":
            storage.flush()


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(operations, max_size=12))
def test_any_operations_agree_with_a_bytearray(
    files: FileSystem, script: list[tuple[str, list[tuple[int, int]]]]
) -> None:
    storage, model = files.create("file"), Model()
    try:
        for seed, (kind, ranges) in enumerate(script, start=1):
            if kind == "reopen":
                storage.close()
                storage = files.open("file", Access.WRITE)
            perform(storage, model, kind, ranges, seed)
            assert storage.size() == len(model.data)
            assert pread(storage, 0, len(model.data)) == model.data
            ranges_with_data = list(transfer.allocated(storage, 0, len(model.data)))
            with pytest.raises(FormatError):
                list(transfer.allocated(storage, 0, len(model.data) + 1))
            holes = bytearray(model.data)
            for piece in ranges_with_data:
                holes[piece.offset : piece.end] = bytes(piece.length)
            assert not any(holes)
    finally:
        storage.close()
        files.remove("file")


# --- staying beneath a directory -------------------------------------------------------------------------------------


def test_a_file_beneath_a_directory(files: FileSystem) -> None:
    put(files, "file", b"content")
    for beneath, path in (("", "file"), (".", "file")):
        with closing(files.open(path, Access.READ, beneath=beneath)) as storage:
            assert pread(storage, 0, 7) == b"content"
        assert files.resolve(path, beneath=beneath) == path
    assert files.resolve("file") == "file"


def test_a_file_that_is_not_beneath_the_directory(files: FileSystem) -> None:
    put(files, "file", b"content")
    for beneath, path in (("sub", "file"), ("fil", "file"), ("file", "file"), ("sub", "subway")):
        with pytest.raises(LeadsOutside):
            files.open(path, Access.READ, beneath=beneath)
        with pytest.raises(LeadsOutside):
            files.resolve(path, beneath=beneath)


def test_an_open_file_is_known_whatever_its_name_stands_for(files: FileSystem) -> None:
    put(files, "file", b"content")
    with closing(files.open("file", Access.INSPECT)) as storage:
        status = files.stat("file")
        assert (storage.status().identity, storage.status().size) == (status.identity, 7)
        assert status.links == storage.status().links == 1
        put(files, "other", b"")
        assert files.stat("other").identity != storage.status().identity


# --- what a storage can ----------------------------------------------------------------------------------------------

OPTIONAL: dict[str, Callable[[Storage], object]] = {
    "zero": lambda storage: storage.zero([(0, 4096)]),
    "reserve": lambda storage: storage.reserve([(MIB, 4096)]),
    "allocated": lambda storage: list(storage.allocated(0, MIB)),
}


@pytest.mark.parametrize("operation", OPTIONAL)
def test_what_a_storage_says_that_it_can_is_what_it_does(files: FileSystem, operation: str) -> None:
    """Before it was tried, and after: what was tried is known."""
    with closing(files.create("file")) as storage:
        pwrite(storage, 0, pattern(MIB))
        said = getattr(storage.can(), operation)
        try:
            OPTIONAL[operation](storage)
        except Unsupported:
            assert said is not Can.YES
            assert getattr(storage.can(), operation) is Can.NO
        else:
            assert said is not Can.NO
            assert getattr(storage.can(), operation) is not Can.NO


def test_what_a_storage_says_that_it_can_copy_is_what_it_copies(files: FileSystem) -> None:
    put(files, "source", pattern(5000))
    memory = MemoryFileSystem()
    put(memory, "source", pattern(5000))
    origins = [files.open("source", Access.READ), memory.open("source", Access.READ)]
    origins.append(OverlayStorage(memory.open("source", Access.READ), []))
    with closing(files.create("target")) as target:
        for origin in origins:
            inner = origin.innermost()
            said = target.can_copy(inner)
            try:
                target.copy(inner, [Move(0, 0, 5000)])
            except Unsupported:
                assert said is not Can.YES
            else:
                assert said is not Can.NO
                assert target.can_copy(inner) is not Can.NO
            origin.close()


def test_what_cannot_be_done_is_not_tried(files: FileSystem) -> None:
    """Callers ask; the fallback does it."""
    tally = Tally()
    put(files, "source", pattern(MIB))
    source = files.open("source", Access.READ)
    with closing(watched(files.create("file"), tally)) as storage, closing(source):
        pwrite(storage, 0, pattern(MIB))
        for _ in range(2):  # whatever is unknown is known then
            tally.clear()
            can, copies = storage.can(), storage.can_copy(source.innermost())
            transfer.zero(storage, [(0, 4096)])
            transfer.reserve(storage, [(MIB, 4096)])
            list(transfer.allocated(storage, 0, MIB))
            transfer.copy(source, storage, [Move(0, 0, 5000)])
        tried = {operation: getattr(can, operation) is not Can.NO for operation in OPTIONAL}
        assert {operation: bool(tally.calls[operation]) for operation in OPTIONAL} == tried
        assert bool(tally.calls["copy"]) == (copies is not Can.NO)
        assert not any(getattr(can, operation) is Can.UNKNOWN for operation in OPTIONAL) or "smb" in storage.name
        assert pread(storage, 0, 5000) == pattern(5000)


def test_a_storage_over_another_answers_for_both() -> None:
    memory = MemoryFileSystem()
    put(memory, "file", pattern(5000))
    with closing(OverlayStorage(memory.open("file", Access.READ), [])) as overlay:
        assert overlay.can() == Capabilities(Can.NO, Can.NO, Can.YES)
        assert overlay.can_copy(overlay) is Can.NO
    for inner in (MemoryFileSystem(), MemoryFileSystem(optional=False)):
        with closing(inner.create("file")) as storage:
            assert watched(storage, Tally()).can() == storage.can()
            assert SketchStorage(storage).can().zero is Can.YES
