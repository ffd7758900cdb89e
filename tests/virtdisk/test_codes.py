"""Every code of virtual disks has its name, its kind and a remedy, and becomes an error that tells them."""

import re
import subprocess
import sys

import pytest

from docs.generate import CODES_PAGE, codes_page
from tests.virtdisk.facts import FACTS
from vhdx import errors
from vhdx.cli.img import COMMANDS as CHANGING
from vhdx.cli.inspect import COMMANDS as LOOKING
from vhdx.errors import Error, FormatError, ParentNotFound, Unrecognised, UnsupportedFeature, WouldLoseData
from vhdx.virtdisk.codes import DISK_CODES, SYSTEM_CODES, Code
from vhdx.virtdisk.failures import Refused, failure, refusal, told

ALL = {**DISK_CODES, **SYSTEM_CODES}
NAMED = {name: code for name, code in FACTS["codes"].items() if code > 0xFFFF}
COMMAND = re.compile(r"`(vhdx-\w+) (\w+)[^`]*`")


def test_the_table_has_every_code_of_virtual_disks() -> None:
    assert {one.name: code for code, one in DISK_CODES.items()} == NAMED
    assert sum(code >> 16 == 0xC03A for code in DISK_CODES) == 47


def test_the_systems_codes_have_microsofts_names() -> None:
    assert {one.name: code for code, one in SYSTEM_CODES.items()}.items() <= FACTS["codes"].items()
    assert not SYSTEM_CODES.keys() & DISK_CODES.keys()


@pytest.mark.parametrize("code", ALL, ids=told)
def test_a_code_becomes_an_error_of_its_kind_that_says_what_to_do(code: int) -> None:
    entry, error = ALL[code], failure("MergeVirtualDisk", code, r"C:\disks\a.vhdx")
    assert type(error) is entry.kind
    said = str(error)
    assert entry.meaning in said
    assert entry.remedy in said
    assert entry.name in said
    assert (f"0x{code:08X}" if code > 0xFFFF else f"({code} ") in said
    assert "a.vhdx" in said
    found = refusal(error)
    assert isinstance(found, Refused)
    assert (found.code, found.symbol, found.function) == (code, entry.name, "MergeVirtualDisk")


@pytest.mark.parametrize("code", ALL, ids=told)
def test_an_entry_is_complete(code: int) -> None:
    entry = ALL[code]
    assert issubclass(entry.kind, Error | OSError)
    assert entry.kind.__module__ == "builtins" or getattr(errors, entry.kind.__name__) is entry.kind
    assert bool(entry.structure) == issubclass(entry.kind, FormatError)
    for text in (entry.meaning, entry.remedy):
        assert text
        assert text == text.strip().rstrip(".")


@pytest.mark.parametrize("code", ALL, ids=told)
def test_a_remedy_names_commands_that_there_are(code: int) -> None:
    commands = {"vhdx-img": CHANGING, "vhdx-inspect": LOOKING}
    for program, command in COMMAND.findall(ALL[code].remedy):
        assert command in commands[program]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0xC03A0004, Unrecognised),
        (0xC03A000D, ParentNotFound),
        (0xC03A001A, UnsupportedFeature),
        (0xC03A0025, WouldLoseData),
        (0xC03A0031, WouldLoseData),
        (2, FileNotFoundError),
        (5, PermissionError),
    ],
)
def test_callers_can_tell_the_kinds(code: int, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        raise failure("OpenVirtualDisk", code, "a.vhdx")


@pytest.mark.parametrize("code", [1, 4711, 0xC03A00FF, 0xFFFFFFFF])
def test_a_code_that_nobody_knows_is_told_with_its_number(code: int) -> None:
    assert code not in ALL
    error = failure("OpenVirtualDisk", code, "a.vhdx")
    assert isinstance(error, OSError)
    assert error.filename == "a.vhdx"
    assert f"OpenVirtualDisk failed with the code {told(code)}" in str(error)
    found = refusal(error)
    assert found is not None
    assert (found.code, found.symbol) == (code, "")


def test_another_error_has_no_code() -> None:
    assert refusal(Error("no")) is None


def test_the_page_is_what_the_table_says() -> None:
    assert CODES_PAGE.read_text() == codes_page(), "it is out of date; run: python docs/generate.py"
    for code, entry in ALL.items():
        assert f"| `{f'0x{code:08X}' if code > 0xFFFF else code}` | `{entry.name}` |" in codes_page()


def test_a_row_cannot_break_the_table() -> None:
    for entry in ALL.values():
        assert isinstance(entry, Code)
        assert "|" not in entry.meaning + entry.remedy


def test_it_can_be_imported_and_says_so_where_there_is_no_windows() -> None:
    if sys.platform == "win32":
        pytest.skip("this is Windows")
    program = (
        "from vhdx.virtdisk import attaching, changes, compacting, creating, information, merging, mirroring, opening\n"
        "from vhdx.virtdisk import resizing, settings\n"
        "from vhdx.virtdisk.library import Library\n"
        "opening.open_disk(Library(), 'a.vhdx')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "UnsupportedFeature: virtdisk.dll: a part of Windows" in done.stderr
