"""Images whose blocks share places: a warning where the work has a bound, one line where it has none."""

import pytest

from tests.cli.running import Programs
from tests.support.memory import MemoryFileSystem
from tests.verbs.test_shared_places import DISK, ENDLESS, SHARING
from vhdx.storage.base import Access
from vhdx.storage.transfer import pread

WHOLE = (("map",), ("map", "--json"), ("hash",), ("hash", "--sparse"))


def put(programs: Programs, files: MemoryFileSystem) -> None:
    for path in files.paths():
        storage = files.open(path, Access.READ)
        (programs.here / path).write_bytes(pread(storage, 0, storage.size()))
        storage.close()


@pytest.mark.parametrize("kind", SHARING)
def test_whole_disks_are_read_with_a_warning(kind: str, programs: Programs) -> None:
    made, _, other = SHARING[kind]
    put(programs, made())
    told = programs.img("convert", DISK, "sound.vhdx", warns=True).err
    assert other in told
    assert len(told.splitlines()) == 1
    assert programs.inspect("compare", DISK, "sound.vhdx", warns=True).err == told
    digest = programs.inspect("hash", DISK, warns=True)
    assert digest.err == told
    assert digest.out.split()[0] == programs.inspect("hash", "sound.vhdx").out.split()[0]
    assert programs.inspect("map", DISK, "--json", warns=True).json
    programs.inspect("read", DISK, "0", "4096", binary=True)
    programs.inspect("info", DISK)
    assert other in programs.img("compact", DISK, code=2).err


@pytest.mark.parametrize("kind", ["vhd", "vhd_child"])
def test_what_would_have_no_end_is_refused(kind: str, programs: Programs) -> None:
    put(programs, ENDLESS[kind]())
    for command, *arguments in WHOLE:
        assert "block 0" in programs.inspect(command, DISK, *arguments, code=2).err
    assert "block 0" in programs.inspect("compare", DISK, DISK, code=3).err
    programs.run("vhdx-inspect", "report", DISK, "-o", "page.html")
    assert "block 0" in (programs.here / "page.html").read_text()
    for target in ("a.raw", "a.vhd", "a.vhdx"):
        assert "block 0" in programs.refused("convert", DISK, target, code=2)
    assert programs.inspect("check", DISK, code=2).out.count("[vhd-bat-overlap]") == 100
    programs.inspect("read", DISK, "0", "4096", binary=True)
    programs.inspect("chain", DISK)
    programs.inspect("dump", DISK, "footer")
