"""A disk as a file: what the standard library makes of it, and that it is a file like any other of one size."""

import gc
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import vhdx
from tests.support.choice import examples
from vhdx import CreateOptions, Disk, DiskFile, Error

MIB = 1 << 20
SIZE = 4 * MIB
SHAPE = CreateOptions(block_size=MIB)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    vhdx.create(tmp_path / "disk.vhdx", SIZE, options=SHAPE)
    with vhdx.open(tmp_path / "disk.vhdx", writable=True) as disk:
        yield disk


class FileMachine(RuleBasedStateMachine):
    """A view does what a BytesIO of the disk's size does, raw and buffered, as long as nothing goes past the end."""

    size = 96 * 1024

    def __init__(self) -> None:
        super().__init__()
        self.disk = _disk(self.size)
        self.model = io.BytesIO(bytes(self.size))
        self.raw = self.disk.file()
        self.file: DiskFile | io.BufferedRandom = self.raw

    @rule(offset=st.integers(0, size + 5000), whence=st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END]))
    def seek(self, offset: int, whence: int) -> None:
        if whence == os.SEEK_END:
            offset = -min(offset, self.size)
        assert self.file.seek(offset, whence) == self.model.seek(offset, whence)

    @rule(length=st.integers(0, 20000))
    def read(self, length: int) -> None:
        assert self.file.read(length) == self.model.read(length)

    @rule()
    def read_all(self) -> None:
        assert self.file.read() == self.model.read()

    @rule(length=st.integers(0, 20000))
    def readinto(self, length: int) -> None:
        ours, theirs = bytearray(length), bytearray(length)
        assert self.file.readinto(ours) == self.model.readinto(theirs)
        assert ours == theirs

    @rule(data=st.binary(max_size=64), times=st.integers(1, 200))
    def write(self, data: bytes, times: int) -> None:
        data *= times
        if self.model.tell() + len(data) > self.size:
            return
        assert self.file.write(data) == self.model.write(data)

    @rule()
    def wrap(self) -> None:
        """From here on through a buffer, or no longer."""
        if isinstance(self.file, io.BufferedRandom):
            self.file.flush()
            self.file.detach()
            self.file = self.raw
            self.raw.seek(self.model.tell())
        else:
            self.file = io.BufferedRandom(self.raw, 4096)

    @invariant()
    def same_position(self) -> None:
        assert self.file.tell() == self.model.tell()

    def teardown(self) -> None:
        self.file.flush()
        assert self.disk.read(0, self.size) == self.model.getvalue()
        self.file.close()
        directory = Path(self.disk.name).parent
        self.disk.close()
        shutil.rmtree(directory)


def _disk(size: int) -> Disk:
    import tempfile

    path = Path(tempfile.mkdtemp()) / "disk.vhdx"
    vhdx.create(path, size, options=SHAPE)
    return vhdx.open(path, writable=True)


FileMachine.TestCase.settings = settings(max_examples=examples(15), stateful_step_count=25, deadline=None)
TestLikeBytesIO = FileMachine.TestCase


def test_reads_end_where_the_disk_ends(disk: Disk) -> None:
    disk.write(SIZE - 3, b"end")
    file = disk.file()
    assert file.seek(-5, os.SEEK_END) == SIZE - 5
    assert file.read(100) == b"\0\0end"
    assert file.read(100) == b""
    file.seek(SIZE + 1000)
    buffer = bytearray(b"as it was")
    assert file.readinto(buffer) == 0
    assert buffer == b"as it was"
    assert file.read() == b""
    file.seek(-2, os.SEEK_END)
    assert file.read() == b"nd"


def test_a_write_past_the_end_is_refused_whole(disk: Disk) -> None:
    file = disk.file()
    file.seek(-2, os.SEEK_END)
    with pytest.raises(Error, match="not inside the disk"):
        file.write(b"end")
    assert file.tell() == SIZE - 2
    assert disk.read(SIZE - 2, 2) == b"\0\0"
    assert file.write(b"") == 0
    with pytest.raises(Error, match="not inside the disk"), io.BufferedRandom(disk.file()) as buffered:
        buffered.seek(SIZE - 1)
        buffered.write(b"too much")
        buffered.flush()
    assert disk.read(SIZE - 2, 2) == b"\0\0"


def test_seeking_nowhere(disk: Disk) -> None:
    file = disk.file()
    file.seek(7)
    with pytest.raises(ValueError, match="negative seek position"):
        file.seek(-8, os.SEEK_CUR)
    with pytest.raises(ValueError, match="not a valid whence"):
        file.seek(0, 9)
    assert file.tell() == 7


def test_it_cannot_be_cut(disk: Disk) -> None:
    with pytest.raises(io.UnsupportedOperation):
        disk.file().truncate(0)
    with pytest.raises(io.UnsupportedOperation):
        disk.file().fileno()


def test_any_buffer_goes_in_and_out(disk: Disk) -> None:
    import array

    numbers = array.array("Q", [1, 2, 1 << 60])
    file = disk.file()
    assert file.write(numbers) == 24
    file.seek(0)
    found = array.array("Q", [0, 0, 0])
    assert file.readinto(found) == 24
    assert found == numbers
    file.seek(0)
    with pytest.raises(TypeError):
        file.readinto(b"constant")


def test_of_a_disk_that_is_only_read(disk: Disk) -> None:
    disk.write(0, b"content")
    disk.close()
    with vhdx.open(disk.name) as reader:
        file = reader.file()
        assert (file.readable(), file.writable(), file.seekable(), file.mode) == (True, False, True, "rb")
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
        with pytest.raises(io.UnsupportedOperation):
            io.BufferedRandom(file)
        file.flush()
        with io.BufferedReader(file) as buffered:
            assert buffered.peek(7)[:7] == b"content"
            assert buffered.name == disk.name


def test_closing_a_view_leaves_disk_and_other_views(disk: Disk) -> None:
    first, second = disk.file(), disk.file()
    assert first.mode == "rb+"
    first.write(b"first")
    first.close()
    first.close()
    for use in (
        first.tell,
        first.readable,
        first.writable,
        first.seekable,
        first.flush,
        first.readall,
        lambda: first.read(1),
        lambda: first.readinto(bytearray(1)),
        lambda: first.write(b"x"),
        lambda: first.seek(0),
    ):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert second.read(5) == b"first"
    assert disk.read(0, 5) == b"first"


@pytest.mark.filterwarnings("error")
def test_a_view_that_outlives_its_disk(disk: Disk) -> None:
    file, forgotten = disk.file(), disk.file()
    disk.close()
    with pytest.raises(Error, match="is closed"):
        file.read(1)
    with pytest.raises(Error, match="is closed"):
        file.write(b"x")
    file.flush()
    file.close()
    # Collecting it raises nothing, which the filter would turn into a failure.
    del forgotten
    gc.collect()


def test_closing_a_buffered_file_makes_it_durable(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bytes] = []
    chain = disk._chain
    true_flush = chain.flush

    def flush() -> None:
        flushed.append(chain.read(0, 4))
        true_flush()

    monkeypatch.setattr(chain, "flush", flush)
    with io.BufferedRandom(disk.file()) as file:
        file.write(b"data")
        assert not flushed
    assert flushed == [b"data"]


def test_archives_in_a_disk(disk: Disk, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    with io.BufferedRandom(disk.file()) as file, tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo("one")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    with tarfile.open(fileobj=io.BufferedReader(disk.file())) as tar:
        member = tar.extractfile("one")
        assert member is not None
        assert member.read() == content

    # A zip is found from the end of its file.
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("two", content)
    disk.write(SIZE - len(packed.getvalue()), packed.getvalue())
    with zipfile.ZipFile(disk.file()) as archive:
        assert archive.read("two") == content


def test_copying_in_and_out(disk: Disk, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(SIZE))
    with source.open("rb") as reader, disk.file() as file:
        shutil.copyfileobj(reader, file)
    copy = tmp_path / "copy"
    with copy.open("wb") as writer, disk.file() as file:
        shutil.copyfileobj(file, writer, 1 << 16)
    assert copy.read_bytes() == source.read_bytes()
    with disk.file() as file:
        digest = hashlib.file_digest(file, "sha256")
    assert digest.digest() == hashlib.sha256(source.read_bytes()).digest()
