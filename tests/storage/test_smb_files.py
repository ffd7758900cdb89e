"""Files on a real share: who may open what from where, names, a full share, holes."""

import itertools
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import connect
from tests.storage.test_contract import EXCLUDED
from tests.support.smbd import Smbd
from vhdx.errors import Error, FormatError, InUse, OutOfSpace
from vhdx.storage import transfer
from vhdx.storage.base import Access, Move
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings, directory
from vhdx.storage.transfer import pread, pwrite

pytestmark = pytest.mark.smb

MIB = 1 << 20


@pytest.fixture
def other_files(smbd: Smbd, smb_files: SmbFileSystem) -> Iterator[SmbFileSystem]:
    """The same share over a connection of its own, as another host would see it."""
    with SmbPool() as pool:
        account = Credentials(smbd.user, smbd.password)
        yield pool.share(smbd.host, smb_files.name.rpartition("/")[2], port=smbd.port, credentials=account)


def put(files: SmbFileSystem, path: str, content: bytes) -> None:
    storage = files.create(path)
    pwrite(storage, 0, content)
    storage.close()


def content(files: SmbFileSystem, path: str) -> bytes:
    storage = files.open(path, Access.INSPECT)
    try:
        return pread(storage, 0, storage.size())
    finally:
        storage.close()


# --- who may open what -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("held", "wanted"), list(itertools.product(Access, Access)))
def test_who_may_open_a_file_beside_another_host(
    smb_files: SmbFileSystem, other_files: SmbFileSystem, held: Access, wanted: Access
) -> None:
    put(smb_files, "file", b"content")
    holder = smb_files.open("file", held)
    if (held, wanted) in EXCLUDED:
        with pytest.raises(InUse, match=r"smb://.*/file: in use by another client"):
            other_files.open("file", wanted)
        holder.close()
    other = other_files.open("file", wanted)
    assert pread(other, 0, 7) == b"content"
    other.close()
    holder.close()


@pytest.mark.parametrize("held", [Access.READ, Access.WRITE])
def test_a_file_that_another_host_holds_keeps_its_name(
    smb_files: SmbFileSystem, other_files: SmbFileSystem, held: Access
) -> None:
    put(smb_files, "held", b"held")
    put(smb_files, "other", b"other")
    holder = smb_files.open("held", held)
    changes: list[Callable[[], None]] = [
        lambda: other_files.remove("held"),
        lambda: other_files.rename("held", "new", replace=False),
        lambda: other_files.rename("other", "held", replace=True),
    ]
    for change in changes:
        with pytest.raises(InUse, match="held"):
            change()
    holder.close()
    assert {name: content(smb_files, name) for name in smb_files.list("")} == {"held": b"held", "other": b"other"}


def test_replacing_a_file_that_is_inspected_over_the_same_connection(smb_files: SmbFileSystem) -> None:
    """Samba refuses it without a reason; whoever asked is told the reason, and nothing is changed."""
    put(smb_files, "old", b"old")
    put(smb_files, "new", b"new")
    onlooker = smb_files.open("old", Access.INSPECT)
    with pytest.raises(InUse, match="old"):
        smb_files.rename("new", "old", replace=True)
    assert pread(onlooker, 0, 3) == b"old"
    onlooker.close()
    smb_files.rename("new", "old", replace=True)
    assert content(smb_files, "old") == b"new"


def test_replacing_a_file_that_another_host_inspects(smb_files: SmbFileSystem, other_files: SmbFileSystem) -> None:
    put(smb_files, "old", b"old")
    put(smb_files, "new", b"new")
    onlooker = other_files.open("old", Access.INSPECT)
    smb_files.rename("new", "old", replace=True)
    assert pread(onlooker, 0, 3) == b"old"
    onlooker.close()
    assert content(other_files, "old") == b"new"
    assert smb_files.list("") == ["old"]


def test_removing_a_file_that_is_inspected(smb_files: SmbFileSystem) -> None:
    put(smb_files, "file", b"content")
    onlooker = smb_files.open("file", Access.INSPECT)
    smb_files.remove("file")
    assert pread(onlooker, 0, 7) == b"content"
    onlooker.close()
    assert smb_files.list("") == []


USES: dict[str, Callable[[SmbFileSystem], object]] = {
    "looking": lambda files: files.stat("file"),
    "opening": lambda files: files.open("file", Access.WRITE),
    "removing": lambda files: files.remove("file"),
    "renaming": lambda files: files.rename("file", "elsewhere", replace=False),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_removed_file_is_gone_as_soon_as_nobody_inspects_it(
    smb_files: SmbFileSystem,
    other_files: SmbFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[SmbFileSystem], object],
) -> None:
    """Whoever looks into all files of a directory, such as who looks for children, makes nobody fail who removes one.

    The server keeps the name until then, and lets nobody have it.
    """
    put(smb_files, "file", b"content")
    onlooker = other_files.open("file", Access.INSPECT)
    smb_files.remove("file")
    monkeypatch.setattr(time, "sleep", lambda _: onlooker.close())
    with pytest.raises(FileNotFoundError):
        use(smb_files)


def test_a_removed_file_that_somebody_goes_on_inspecting_is_in_use(
    smb_files: SmbFileSystem, other_files: SmbFileSystem
) -> None:
    put(smb_files, "file", b"content")
    onlooker = other_files.open("file", Access.INSPECT)
    smb_files.remove("file")
    with pytest.raises(InUse, match="file: being deleted; another client still has it open"):
        smb_files.open("file", Access.READ)
    assert pread(onlooker, 0, 7) == b"content"
    onlooker.close()
    assert smb_files.list("") == []


# --- names -----------------------------------------------------------------------------------------------------------

NAMES = [
    "with space",
    "é ü 漢字 🙂",
    "#hash%20",
    "a&b=c;d'e",
    "$dollar~tilde",
    ".hidden",
    "x" * 200,
    "UPPER",
    "[1]{2}!@^_+,`",
]


def test_names_of_all_kinds(smb_files: SmbFileSystem, share_directory: Path) -> None:
    for number, name in enumerate(NAMES):
        put(smb_files, name, str(number).encode())
    assert smb_files.list("") == sorted(NAMES)
    assert sorted(path.name for path in share_directory.iterdir()) == sorted(NAMES)
    for number, name in enumerate(NAMES):
        assert content(smb_files, name) == str(number).encode()
        assert smb_files.describe(name) == f"{smb_files.name}/{name}"
        smb_files.rename(name, f"{name}.x", replace=False)
        smb_files.remove(f"{name}.x")
    assert smb_files.list("") == []


BAD_NAMES = [
    "..", "../file", "a/../b", "a/..", "/file", "a//b", "a/", ".", "./a", "a\\b", "a:stream", "C:", "a*", "a?", "a|b",
    'a"b', "a<b", "a>b", "a\0b", "a\nb", "trailing.", "trailing ", "dir./a",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_leave_the_share_or_mean_something_else(smb_files: SmbFileSystem, name: str) -> None:
    put(smb_files, "file", b"")
    for use in (
        lambda: smb_files.open(name, Access.INSPECT),
        lambda: smb_files.create(name),
        lambda: smb_files.remove(name),
        lambda: smb_files.stat(name),
        lambda: smb_files.list(name),
        lambda: smb_files.rename(name, "x", replace=True),
        lambda: smb_files.rename("file", name, replace=True),
        lambda: smb_files.rename("file", name, replace=False),
    ):
        with pytest.raises(Error):
            use()
    assert smb_files.list("") == ["file"]


def test_a_directory_is_not_a_file(smb_files: SmbFileSystem, share_directory: Path) -> None:
    (share_directory / "directory" / "deeper").mkdir(parents=True)
    put(smb_files, "directory/file", b"content")
    put(smb_files, "directory/deeper/file", b"deeper")
    assert smb_files.list("") == []
    assert smb_files.list("directory") == ["file"]
    assert content(smb_files, "directory/deeper/file") == b"deeper"
    for use in (
        lambda: smb_files.open("directory", Access.INSPECT),
        lambda: smb_files.remove("directory"),
        lambda: smb_files.stat("directory"),
        lambda: smb_files.list("directory/file"),
    ):
        with pytest.raises(Error, match="directory"):
            use()
    with pytest.raises(FileNotFoundError):
        smb_files.list("missing")
    with pytest.raises(FileNotFoundError, match="missing/file"):
        smb_files.create("missing/file")
    smb_files.sync_directory("directory/deeper")


def test_long_names_are_refused_by_the_server_and_told(smb_files: SmbFileSystem) -> None:
    with pytest.raises((Error, OSError), match="xxxx"):
        smb_files.create("x" * 300)


def test_a_long_list(smb_files: SmbFileSystem, share_directory: Path) -> None:
    names = [f"volume-{number:05}-with-a-name-of-some-length.vhdx" for number in range(2500)]
    for name in names:
        (share_directory / name).touch()
    assert smb_files.list("") == names


def test_a_list_without_an_end_ends(
    smb_files: SmbFileSystem, share_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (share_directory / name).touch()
    monkeypatch.setattr(directory, "_MOST_NAMES", 3)
    assert smb_files.list("") == ["a", "b", "c"]
    (share_directory / "d").touch()
    with pytest.raises(OSError, match="lists more than 3 files"):
        smb_files.list("")


def test_an_empty_list(smb_files: SmbFileSystem) -> None:
    assert smb_files.list("") == []


def test_two_names_of_one_file(smb_files: SmbFileSystem, share_directory: Path) -> None:
    put(smb_files, "File", b"content")
    put(smb_files, "another", b"content")
    (share_directory / "link").hardlink_to(share_directory / "File")
    assert smb_files.stat("fILE") == smb_files.stat("File")
    assert smb_files.stat("link").identity == smb_files.stat("File").identity
    assert smb_files.stat("another").identity != smb_files.stat("File").identity


def test_what_stat_says(smb_files: SmbFileSystem, share_directory: Path) -> None:
    put(smb_files, "file", bytes(3 * MIB))
    os.utime(share_directory / "file", (1_000_000_000, 1_234_567_890.5))
    status = smb_files.stat("file")
    assert (status.size, status.modified) == (3 * MIB, 1_234_567_890.5)
    assert status.allocated >= 0


# --- the end of a file -----------------------------------------------------------------------------------------------


def test_reading_past_the_end_of_what_others_change(smb_files: SmbFileSystem) -> None:
    writer = smb_files.create("file")
    pwrite(writer, 0, bytes(2 * MIB))
    onlooker = smb_files.open("file", Access.INSPECT)
    assert pread(onlooker, 0, 2 * MIB) == bytes(2 * MIB)
    writer.truncate(100)
    assert onlooker.size() == 100
    for offset, length in ((0, 2 * MIB), (99, 2), (100, 1), (MIB, MIB)):
        with pytest.raises(FormatError) as caught:
            pread(onlooker, offset, length)
        assert (caught.value.file, caught.value.structure) == (onlooker.name, "file")
    assert pread(onlooker, 0, 100) == bytes(100)
    onlooker.close()
    writer.close()


def test_a_file_that_is_cut_behind_the_servers_back(smb_files: SmbFileSystem, share_directory: Path) -> None:
    put(smb_files, "file", bytes(2 * MIB))
    storage = smb_files.open("file", Access.READ)
    os.truncate(share_directory / "file", 1000)
    for offset, length in ((0, 2 * MIB), (2000, 10)):
        with pytest.raises(FormatError):
            pread(storage, offset, length)
    storage.close()


# --- a full share ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small(smbd: Smbd, smb_pool: SmbPool, tmp_path: Path) -> Iterator[SmbFileSystem]:
    """A share of 8 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield connect(smbd, smb_pool, directory)
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_full_share(small: SmbFileSystem) -> None:
    storage = small.create("file")
    with pytest.raises(OutOfSpace, match="file: the share is full"):
        pwrite(storage, 0, bytes(range(1, 129)) * (1 << 17))
    storage.truncate(0)
    pwrite(storage, 0, b"fits")
    storage.flush()
    assert pread(storage, 0, 4) == b"fits"
    storage.close()
    assert small.space().total == 8 * MIB


def test_a_share_that_fills_up_during_a_copy(small: SmbFileSystem) -> None:
    source = small.create("source")
    pwrite(source, 0, bytes(range(1, 129)) * (5 * MIB // 128))
    target = small.create("target")
    with pytest.raises(OutOfSpace, match="target"):
        transfer.copy(source, target, [Move(0, 0, 5 * MIB)])
    target.truncate(0)
    transfer.copy(source, target, [Move(0, 0, MIB)])
    assert pread(target, 0, MIB) == pread(source, 0, MIB)
    source.close()
    target.close()


# --- holes -----------------------------------------------------------------------------------------------------------

_SPARSE = 0x200
_SET_SPARSE = 0x000900C4


def is_marked_sparse(path: Path) -> bool:
    """Whether Samba keeps the sparse attribute for a file; it is in no listing of a local file."""
    try:
        attribute = os.getxattr(path, "user.DOSATTRIB")
    except OSError as error:
        pytest.skip(f"the attributes that Samba keeps cannot be read here: {error}")
    return bool(struct.unpack_from("<I", attribute, 12)[0] & _SPARSE)


@pytest.mark.parametrize("change", ["zero", "truncate", "write", "copy"])
def test_a_file_is_never_marked_sparse(smb_files: SmbFileSystem, share_directory: Path, change: str) -> None:
    storage = smb_files.create("file")
    pwrite(storage, 0, bytes(range(1, 129)) * (4 * MIB // 128))
    changes: dict[str, Callable[[], None]] = {
        "zero": lambda: storage.zero([(MIB, 2 * MIB)]),
        "truncate": lambda: storage.truncate(64 * MIB),
        "write": lambda: pwrite(storage, 64 * MIB, b"x"),
        "copy": lambda: storage.copy(storage, [Move(0, 8 * MIB, MIB)]),
    }
    changes[change]()
    storage.flush()
    assert not is_marked_sparse(share_directory / "file")
    storage.handle.ioctl(_SET_SPARSE, b"", max_response=0)
    assert is_marked_sparse(share_directory / "file")
    storage.close()


def test_zeros_are_holes(smb_files: SmbFileSystem, share_directory: Path) -> None:
    storage = smb_files.create("file")
    data = bytes(range(1, 129)) * (8 * MIB // 128)
    pwrite(storage, 0, data)
    storage.flush()
    before = (share_directory / "file").stat().st_blocks
    ranges = [(MIB, 4 * MIB), (6 * MIB + 5, 100), (7 * MIB, 0)]
    storage.zero(ranges)
    storage.flush()
    assert (share_directory / "file").stat().st_blocks * 512 <= before * 512 - 4 * MIB
    model = bytearray(data)
    for offset, length in ranges:
        model[offset : offset + length] = bytes(length)
    assert pread(storage, 0, 8 * MIB) == model
    storage.close()


def test_zeros_beyond_what_one_request_may_cover(smb_files: SmbFileSystem) -> None:
    storage = smb_files.create("file")
    storage.truncate(300 * MIB)
    for offset in (0, 100 * MIB, 300 * MIB - 5):
        pwrite(storage, offset, b"data!")
    storage.zero([(0, 200 * MIB), (200 * MIB, 100 * MIB)])
    for offset in (0, 100 * MIB, 300 * MIB - 5):
        assert pread(storage, offset, 5) == bytes(5)
    assert storage.size() == 300 * MIB
    storage.close()


def test_settings_can_be_small(smbd: Smbd, share_directory: Path) -> None:
    with SmbPool() as pool:
        settings = SmbSettings(request_size=5000, depth=1)
        files = connect(smbd, pool, share_directory, settings=settings)
        storage = files.create("file")
        data = bytes(range(251)) * 200
        pwrite(storage, 7, data)
        assert pread(storage, 7, len(data)) == data
        storage.close()
