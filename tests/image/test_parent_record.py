"""The record of the parent is replaced whole, wherever in the metadata it has to go, and survives in the log alone."""

import struct
from uuid import UUID

import pytest

from tests.format.raw import MIB
from tests.image import forge
from tests.image.forge import Forge, reader, writer
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error, FormatError
from vhdx.image.base import ParentLink

STRANGE = UUID(int=0x5757)


@pytest.fixture
def files() -> MemoryFileSystem:
    """disk.vhdx over base.vhdx."""
    made = MemoryFileSystem()
    forge.create(made, path="base.vhdx")
    forge.engine(50).create_child(made, "disk.vhdx", "base.vhdx")
    return made


def link(length: int, number: int = 7) -> ParentLink:
    return ParentLink(UUID(int=number), paths={"relative_path": ".\\" + "p" * length})


def recorded(files: MemoryFileSystem) -> ParentLink | None:
    image = reader(files)
    image.close()
    return image.info.parent


@pytest.mark.parametrize("length", [1, 100, 2000, 4000, 32000])
def test_a_record_of_any_length(files: MemoryFileSystem, length: int) -> None:
    before = Forge(files).data_write_guid, Forge(files).file_write_guid
    image = writer(files)
    image.set_parent(link(length))
    assert image.info.parent == link(length)
    image.close()
    assert recorded(files) == link(length)
    assert Forge(files).data_write_guid == before[0], "the content is the same"
    assert Forge(files).file_write_guid != before[1]


def test_records_one_after_the_other(files: MemoryFileSystem) -> None:
    image = writer(files)
    for number, length in enumerate((5, 3000, 20, 30000, 1, 700), 1):
        image.set_parent(link(length, number))
    image.close()
    assert recorded(files) == link(700, 6)
    assert forge.engine().info(files, "disk.vhdx").virtual_size == 8 * MIB


def test_both_linkages_and_all_paths(files: MemoryFileSystem) -> None:
    paths = {"relative_path": "a", "volume_path": "\\\\?\\Volume{1}\\a", "absolute_win32_path": "\\\\?\\C:\\a"}
    wanted = ParentLink(UUID(int=1), UUID(int=2), paths)
    image = writer(files)
    image.set_parent(wanted)
    image.close()
    assert recorded(files) == wanted


def test_it_is_durable_on_return(files: MemoryFileSystem) -> None:
    for number, length in enumerate((10, 30000), 1):
        image = writer(files, start=500 * number)
        image.set_parent(link(length, number))
        image.abandon()
        assert Forge(files).spoil_logged_pages()
        assert recorded(files) == link(length, number)


def test_it_makes_way_for_what_lies_behind_it(files: MemoryFileSystem) -> None:
    made = Forge(files)
    locator = made.metadata + 32 + 5 * 32
    offset, length = made.number(locator + 16, 4), made.number(locator + 20, 4)
    made.write(locator + 32, STRANGE.bytes_le + struct.pack("<IIII", offset + length, 16, 0, 0))
    made.write(made.metadata + 10, struct.pack("<H", 7))
    made.write(made.metadata + offset + length, b"leave this alone")
    image = writer(files)
    image.set_parent(link(5000))
    image.close()
    assert recorded(files) == link(5000)
    assert made.read(made.metadata + offset + length, 16) == b"leave this alone"
    image = writer(files)
    image.set_parent(link(1))
    image.close()
    assert recorded(files) == link(1)
    assert made.read(made.metadata + offset + length, 16) == b"leave this alone"


def test_without_room_nothing_changes(files: MemoryFileSystem) -> None:
    made = Forge(files)
    locator = made.metadata + 32 + 5 * 32
    offset, length = made.number(locator + 16, 4), made.number(locator + 20, 4)
    at = offset + length
    made.write(locator + 32, STRANGE.bytes_le + struct.pack("<IIII", at, MIB - at, 0, 0))
    made.write(made.metadata + 10, struct.pack("<H", 7))
    before, old = made.everything, recorded(files)
    image = writer(files)
    with pytest.raises(FormatError, match="room"):
        image.set_parent(link(5000))
    image.close()
    assert made.everything == before
    assert recorded(files) == old


@pytest.mark.parametrize("path", ["x" * 40000, "\ud800"])
def test_a_record_that_cannot_be_written_changes_nothing(files: MemoryFileSystem, path: str) -> None:
    before = Forge(files).everything
    image = writer(files)
    with pytest.raises(Error, match="relative_path"):
        image.set_parent(ParentLink(UUID(int=1), paths={"relative_path": path}))
    image.close()
    assert Forge(files).everything == before


def test_a_disk_without_a_parent_has_none_to_record(files: MemoryFileSystem) -> None:
    before = Forge(files, "base.vhdx").everything
    image = writer(files, "base.vhdx")
    with pytest.raises(Error, match="not a differencing image"):
        image.set_parent(link(1))
    image.close()
    assert Forge(files, "base.vhdx").everything == before
