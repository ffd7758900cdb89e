"""What failing storage and full disks leave: images that open, with everything flushed in them."""

import errno
from collections.abc import Callable

import pytest

from tests.format.raw import MIB
from tests.image import forge
from tests.image.forge import Forge, disk
from tests.image.full import FullFileSystem
from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import DATA_CHANGES, NAME_CHANGES, Fault, WatchedFileSystem
from vhdx.chain.chain import Chain
from vhdx.errors import Error, OutOfSpace, Poisoned
from vhdx.storage.base import FileSystem

BROKEN = OSError(errno.EIO, "the cable came loose")


def child(files: MemoryFileSystem) -> None:
    """disk.vhdx over base.vhdx, 8 MiB with something in both."""
    forge.create(files, path="base.vhdx")
    with disk(files, "base.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 6 * MIB))
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    with disk(files, writable=1) as chain:
        chain.write(MIB + 4096, pattern(2, 3 * MIB))


def content(files: FileSystem) -> bytes:
    with disk(files) as chain:
        return chain.read(0, chain.size)


def history(chain: Chain, flushed: list[bytes]) -> None:
    """Writes of every kind; *flushed* gets what a completed flush made durable."""
    expected = bytearray(chain.read(0, chain.size))

    def write(offset: int, data: bytes) -> None:
        chain.write(offset, data)
        expected[offset : offset + len(data)] = data

    def flush() -> None:
        chain.flush()
        flushed.append(bytes(expected))

    write(512, pattern(3, 512))
    flush()
    write(6 * MIB + 4096, pattern(4, MIB))
    chain.zero(2 * MIB, 2 * MIB)
    expected[2 * MIB : 4 * MIB] = bytes(2 * MIB)
    flush()
    write(2 * MIB + 512, pattern(5, MIB))
    flush()
    write(0, pattern(6, 2 * MIB))
    chain.close()
    flushed.append(bytes(expected))


def acceptable(found: bytes, before: bytes, after: bytes) -> bool:
    """Whether each sector is as in one of two contents."""
    return all(
        found[at : at + 512] in (before[at : at + 512], after[at : at + 512]) for at in range(0, len(found), 512)
    )


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_any_failing_operation_leaves_what_was_flushed(lasting: bool) -> None:
    start = MemoryFileSystem()
    child(start)
    clean: list[bytes] = [content(start)]
    files = MemoryFileSystem(start.snapshot())
    history(disk(files, writable=1), clean)
    poisoned = finished = 0
    for at in range(int(lasting), 200, 2):
        files = MemoryFileSystem(start.snapshot())
        BROKEN.__traceback__ = None  # else it holds every disk that it went through
        fault = Fault(at, BROKEN, lasting, DATA_CHANGES)
        chain = disk(WatchedFileSystem(files, fault), writable=1)
        flushed = [clean[0]]
        try:
            history(chain, flushed)
        except OSError as error:
            assert error is BROKEN
            poisoned += is_poisoned(chain)
            chain.close()
        else:
            if not fault.fired:
                finished = at
                break
        done = len(flushed) - 1
        found = content(files)
        assert acceptable(found, clean[done], clean[min(done + 1, len(clean) - 1)]), at
        with disk(files, writable=1) as again:
            again.write(7 * MIB, b"goes on")
        assert content(files)[7 * MIB : 7 * MIB + 7] == b"goes on"
    assert finished > 20
    assert poisoned > 5


def is_poisoned(chain: Chain) -> bool:
    try:
        chain.flush()
    except Poisoned:
        return True
    except (OSError, ValueError, Error):  # such as one that is closed by now
        return False
    return False


def test_a_failing_flush_poisons() -> None:
    files = MemoryFileSystem()
    child(files)
    before = content(files)
    fault = Fault(0, BROKEN, kinds=frozenset({"flush"}))
    watched = WatchedFileSystem(files, fault)
    chain = disk(watched, writable=1)
    with pytest.raises(OSError, match="cable"):
        chain.write(0, pattern(9, 512))
    changes: list[Callable[[], object]] = [
        lambda: chain.write(0, b"x"),
        chain.flush,
        lambda: chain.zero(0, 512),
        lambda: chain.leaf.resize(MIB),
    ]
    for change in changes:
        with pytest.raises(Poisoned):
            change()
    chain.close()
    assert content(files) == before


def test_closing_after_a_failure_writes_nothing() -> None:
    files = MemoryFileSystem()
    child(files)
    fault = Fault(6, BROKEN)
    chain = disk(WatchedFileSystem(files, fault), writable=1)
    with pytest.raises(OSError, match="cable"):
        history(chain, [])
    state = Forge(files).everything
    chain.close()
    assert Forge(files).everything == state


@pytest.mark.parametrize("what", ["create", "child"])
def test_creation_that_fails_anywhere_leaves_nothing(what: str) -> None:
    start = MemoryFileSystem()
    forge.create(start, path="base.vhdx")
    for at in range(100):
        files = MemoryFileSystem(start.snapshot())
        fault = Fault(at, BROKEN, kinds=DATA_CHANGES | NAME_CHANGES - {"remove", "sync_directory"})
        engine = forge.engine()
        try:
            if what == "create":
                engine.create(WatchedFileSystem(files, fault), "new.vhdx", 8 * MIB)
            else:
                engine.create_child(WatchedFileSystem(files, fault), "new.vhdx", "base.vhdx")
        except OSError:
            assert files.list("") == ["base.vhdx"]
            continue
        assert at > 4
        return


def test_creation_on_a_full_disk_leaves_nothing() -> None:
    refused = 0
    for room in range(0, 3 * MIB, 128 << 10):
        files = FullFileSystem(MemoryFileSystem(), room=room)
        try:
            forge.engine().create(files, "disk.vhdx", 8 << 30)
        except OutOfSpace:
            refused += 1
            assert files.list("") == []
            continue
        assert room >= MIB, "the log was reserved"
        assert content_of_first_mib(files) == bytes(MIB)
    assert 0 < refused < 24


def content_of_first_mib(files: FileSystem) -> bytes:
    with disk(files) as chain:
        return chain.read(0, MIB)


def test_a_clone_on_a_full_disk_leaves_nothing() -> None:
    start = MemoryFileSystem()
    child(start)
    files = FullFileSystem(MemoryFileSystem(start.snapshot()), room=5 * MIB)
    with pytest.raises(OutOfSpace):
        forge.engine().convert(files, "disk.vhdx", files, "copy.vhdx")
    assert files.list("") == ["base.vhdx", "disk.vhdx"]


@pytest.mark.parametrize("room_kib", [0, 4, 64, 512, 1024, 1028, 1536, 2048, 3000, 4096])
def test_a_full_disk_loses_only_the_write_that_did_not_fit(room_kib: int) -> None:
    memory = MemoryFileSystem()
    child(memory)
    files = FullFileSystem(memory, room=room_kib << 10)
    expected = bytearray(content(files))
    chain = disk(files, writable=1)
    refused = 0
    for number, offset in enumerate((5 * MIB, MIB, 6 * MIB + 512, 0, 7 * MIB)):
        data = pattern(10 + number, MIB + 4096)[: 8 * MIB - offset]
        before = bytes(expected)
        try:
            chain.write(offset, data)
        except OutOfSpace:
            refused += 1
            found = chain.read(0, chain.size)
            after = before[:offset] + data + before[offset + len(data) :]
            assert acceptable(found, before, after), "each sector is old or new"
            expected = bytearray(found)
        else:
            expected[offset : offset + len(data)] = data
        chain.flush()
        assert chain.read(0, chain.size) == expected
    assert refused
    chain.close()
    assert content(files) == expected
    assert Forge(memory).size % MIB == 0
    files.left = 64 * MIB
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(20, 8 * MIB))
    assert content(files) == pattern(20, 8 * MIB)


def test_a_full_disk_still_frees_space() -> None:
    memory = MemoryFileSystem()
    child(memory)
    files = FullFileSystem(memory, room=0)
    with disk(files, writable=1) as chain:
        chain.zero(0, 8 * MIB)
    assert content(files) == bytes(8 * MIB)


def test_growing_on_a_full_disk_leaves_the_old_size() -> None:
    """The table has to move, and there is no room for it."""
    memory = MemoryFileSystem()
    made = forge.create(memory, 64 << 30)
    with disk(memory, writable=1) as chain:
        chain.write(0, pattern(1, MIB))
    files = FullFileSystem(memory, room=64 << 10)
    with pytest.raises(OutOfSpace):
        forge.engine().resize(files, "disk.vhdx", 1 << 40)
    with disk(files, writable=1) as chain:
        assert chain.size == 64 << 30
        assert chain.read(0, MIB) == pattern(1, MIB)
    files.left = 64 * MIB
    forge.engine(600).resize(files, "disk.vhdx", 1 << 40)
    with disk(files, writable=1) as chain:
        chain.write((1 << 40) - 4096, pattern(2, 4096))
        assert chain.read(0, MIB) == pattern(1, MIB)
    assert made.size % MIB == 0


def test_a_second_writer_is_kept_out() -> None:
    files = MemoryFileSystem()
    child(files)
    with disk(files, writable=1):
        with pytest.raises(Error, match="in use"):
            disk(files, writable=1)
        with pytest.raises(Error, match="in use"):
            disk(files)
        assert forge.engine().info(files, "disk.vhdx").virtual_size == 8 * MIB
