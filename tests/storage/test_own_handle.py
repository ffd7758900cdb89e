"""What a caller does to a file that it has made and still has open, and work that stays in one directory."""

from contextlib import closing

import pytest

from tests.storage.test_contract import content, files, put  # noqa: F401  the fixture of all transports
from vhdx.errors import InUse
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.transfer import pwrite


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_a_file_is_renamed_while_its_maker_has_it_open(files: FileSystem, replace: bool, there: bool) -> None:  # noqa: F811
    if there:
        put(files, "final", b"old")
    with closing(files.create("temporary")) as storage:
        pwrite(storage, 0, b"new")
        if there and not replace:
            with pytest.raises(FileExistsError):
                files.rename("temporary", "final", replace=replace, held=storage)
            assert files.list("") == ["final", "temporary"]
            return
        files.rename("temporary", "final", replace=replace, held=storage)
        assert files.list("") == ["final"]
        # It is still held against everybody else, and still the same file.
        with pytest.raises(InUse):
            files.open("final", Access.WRITE)
        assert storage.identity() == files.stat("final").identity
        pwrite(storage, 3, b"!")
    assert content(files, "final") == b"new!"


def test_what_somebody_else_holds_is_not_replaced(files: FileSystem) -> None:  # noqa: F811
    put(files, "final", b"old")
    with closing(files.open("final", Access.READ)), closing(files.create("temporary")) as storage, pytest.raises(InUse):
        files.rename("temporary", "final", replace=True, held=storage)
    assert content(files, "final") == b"old"
    assert files.list("") == ["final", "temporary"]


def test_a_file_is_removed_by_its_maker(files: FileSystem) -> None:  # noqa: F811
    storage = files.create("file")
    pwrite(storage, 0, b"x")
    files.remove("file", held=storage)
    assert files.list("") == []
    storage.close()
    files.create("file").close()


def test_identity_is_that_of_the_status(files: FileSystem) -> None:  # noqa: F811
    put(files, "one", b"1")
    put(files, "two", b"2")
    with closing(files.open("one", Access.READ)) as one, closing(files.open("two", Access.READ)) as two:
        assert one.identity() == one.status().identity == files.stat("one").identity
        assert one.identity() != two.identity()


def test_names_are_listed_by_how_they_begin(files: FileSystem) -> None:  # noqa: F811
    for name in ("volume-1.vhdx", "Volume-1.x.vhdx", "volume-2.vhdx", "other"):
        put(files, name, b"")
    assert files.list("", "volume-1") == ["Volume-1.x.vhdx", "volume-1.vhdx"]
    assert files.list("", "nothing") == []
    assert files.list("", "vol*") == []
    assert len(files.list("")) == 4


def test_work_that_stays_in_a_directory_sees_what_changes_there(files: FileSystem) -> None:  # noqa: F811
    put(files, "one", b"1")
    with files.staying("") as here:
        assert here.list("") == ["one"]
        put(files, "two", b"2")
        assert here.list("", "t") == ["two"]
        assert here.list("") == ["one", "two"]
        here.rename("one", "three", replace=False)
        here.sync_directory("")
        assert here.list("", "o") == []
        assert here.list("", "th") == ["three"]
        here.create("four").close()
        here.sync_directory("")
    assert files.list("") == ["four", "three", "two"]


def test_whether_a_name_is_there(files: FileSystem) -> None:  # noqa: F811
    put(files, "Name.vhdx", b"x")
    with files.staying("") as here:
        for where in (files, here, here):
            assert where.exists("Name.vhdx")
            assert not where.exists("Name.vhd")
            assert not where.exists("Name")
            assert not where.exists("name.vhdx"), "to the letter"
            assert where.list("", "na") == ["Name.vhdx"]
        files.remove("Name.vhdx")
        assert not here.exists("Name.vhdx")
