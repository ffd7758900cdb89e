"""Whatever is asked, and of whatever: one line, a documented exit code, and never a traceback."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.check.defects_front import REGIONS
from tests.cli.running import harmless
from tests.fuzz.lies import Lie, lies
from tests.fuzz.subjects import MAKERS, subject
from tests.fuzz.test_lies import EXAMPLES, PROFILE
from tests.image import forge
from vhdx.chain.chain import Chain
from vhdx.cli import img, inspect
from vhdx.cli.exits import Exit
from vhdx.cli.program import Program, run
from vhdx.format import checksum
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.repair.undo import (
    HEADER,
    HEADER_CHECKSUM,
    RECORD,
    RECORD_CHECKSUM,
    SIZE,
    THEN,
    WAS,
    UndoHeader,
    UndoRecord,
)
from vhdx.storage.building import is_temporary, temporary_name
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

ANSWERS = {"check": (2, 3, 1), "compare": (1, 3)}
LOOKING = [
    "info IMAGE",
    "info IMAGE --json",
    "chain IMAGE",
    "map IMAGE",
    "map IMAGE --layer --json",
    "map IMAGE --svg OUT",
    "check IMAGE --chain --deep",
    "dump IMAGE",
    "dump IMAGE --json",
    "hash IMAGE --sparse",
    "read IMAGE 0 64K",
    "report IMAGE -o OUT --force",
]
CHANGING = [
    "repair IMAGE --dry-run",
    "repair IMAGE --reclaim --undo-file UNDO",
    "repair IMAGE --undo --undo-file UNDO",
    "replay IMAGE",
    "merge IMAGE --dry-run",
    "convert IMAGE OUT.vhd --force",
    "create child.vhdx -b IMAGE --force",
    "write IMAGE 4096 --from SOURCE",
    "resize IMAGE +1M",
    "compact IMAGE",
    "merge IMAGE",
]


def ended(program: Program, words: Sequence[str]) -> tuple[int, str, str]:
    """Run a command in this process: its exit code, and what it printed."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        run(program, list(words))
    assert isinstance(end.value.code, int)
    printed, said = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return end.value.code, printed, said


def hold(program: Program, words: Sequence[str]) -> int:
    """Run a command, and see that it ends as it should; its exit code."""
    code, printed, said = ended(program, words)
    told = f"{program.name} {list(words)!r} -> {code}\n{printed[-400:]}{said}"
    assert code in set(Exit) - {Exit.BUG} | {3}, told
    assert "Traceback" not in said, told
    assert harmless(printed), told
    assert harmless(said), told
    said = re.sub(r"^warning: [^\n]+\n", "", said, flags=re.MULTILINE)
    if said:
        assert re.fullmatch(rf"{program.name}: [^\n]+\n", said), told
    assert said or code == 0 or code in ANSWERS.get(words[0], ()), told
    return code


@contextmanager
def inside(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", sorted(MAKERS))
@settings(PROFILE, max_examples=max(EXAMPLES // 4, 1))  # each example is a look with every command
@given(data=st.data())
def test_images_with_lies(name: str, data: st.DataObject) -> None:
    lie: Lie = data.draw(lies(name))
    made = subject(name)
    files = made.copy()
    lie.tell(files)
    with TemporaryDirectory() as directory, inside(Path(directory)):
        for path, pages in files.snapshot().items():
            Path(path).write_bytes(pages.read(0, pages.size))
        Path("SOURCE").write_bytes(b"x" * 5000)
        for line in LOOKING:
            hold(inspect.program, [made.paths[0] if word == "IMAGE" else word for word in line.split()])
        for line in CHANGING:
            hold(img.program, [made.paths[0] if word == "IMAGE" else word for word in line.split()])


def test_sound_images_are_answered() -> None:
    """So that the law above is not held by commands that fail for another reason."""
    made = subject("vhdx-dynamic")
    with TemporaryDirectory() as directory, inside(Path(directory)):
        for path, pages in made.copy().snapshot().items():
            Path(path).write_bytes(pages.read(0, pages.size))
        Path("SOURCE").write_bytes(b"x" * 5000)
        for program, lines in ((inspect.program, LOOKING), (img.program, CHANGING)):
            for line in lines:
                words = [made.paths[0] if word == "IMAGE" else word for word in line.split()]
                code = hold(program, words)
                # It has no parent, nothing to put right, and now a child.
                refused = words[0] in ("merge", "write", "resize") or "--undo" in words
                assert code == 0 or refused, line


@pytest.mark.parametrize("shift", [1, 4, 7, -4])
def test_a_table_that_begins_anywhere(shift: int, tmp_path: Path) -> None:
    """A BAT whose place is no multiple of its entries' size."""
    made = forge.create(LocalFileSystem(tmp_path))
    guid, offset, length, required = REGIONS[0]
    made.write(offset, b"\1" * length)
    made.set_regions((guid, offset + shift, length, required), REGIONS[1])
    with inside(tmp_path):
        for line in LOOKING:
            code = hold(inspect.program, ["disk.vhdx" if word == "IMAGE" else word for word in line.split()])
            assert code == (0 if "report" in line else 2)


# --- odd arguments ---------------------------------------------------------------------------------------------------

NUMBERS = ["-1", "0", "1", "511", "0x", "0xffffffffffffffff", str(1 << 63), str(1 << 64), "9" * 400, "1.3G", "1e9", ""]
NAMES = ["", ".", "..", "/", "nowhere/a.vhdx", "directory", "pipe", "/dev/null", "/dev/zero", "unreadable", "loop",
         "a\nb.vhdx", "\udcff.vhdx", "x" * 300 + ".vhdx", "smb://", "smb://h", "\\\\", "file://x", "~", "-",
         "/proc/self/mem", "empty.vhdx"]  # fmt: skip


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Path]:
    """A directory with a sound image and with what is no file."""
    files = LocalFileSystem(tmp_path)
    NativeEngine().create(files, "a.vhdx", 8 << 20, CreateOptions(block_size=1 << 20))
    NativeEngine().create(files, "a.vhd", 8 << 20, CreateOptions(format=ImageFormat.VHD))
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "unreadable").touch(0)
    (tmp_path / "empty.vhdx").touch()
    with inside(tmp_path):
        yield tmp_path


@pytest.mark.parametrize("number", NUMBERS)
def test_odd_numbers(number: str, odd: Path) -> None:
    """None of them makes an image that was not there, or changes one that was to be refused."""
    for words in (["a.vhdx", number, "512"], ["a.vhdx", "512", number], ["a.vhd", number, number]):
        hold(inspect.program, ["read", *words])
    for words in (
        ["create", "new.vhdx", number],
        ["create", "new.vhd", number, "--force", "-t", "fixed"],
        ["create", "new.vhdx", "1M", "--block-size", number, "--force"],
        ["create", "new.vhd", "1M", "--block-size", number, "--force"],
        ["create", "new.vhdx", "1M", "--sector-size", number, "--force"],
        ["create", "child.vhdx", number, "-b", "a.vhdx", "--force"],
        ["convert", "a.vhdx", "copy.vhdx", "--block-size", number, "--force"],
        ["write", "a.vhd", number, "--from", "empty.vhdx"],
        ["resize", "a.vhd", number, "--shrink"],
        ["resize", "a.vhd", "+" + number],
    ):
        hold(img.program, words)
    assert not list(odd.glob("*.tmp"))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_odd_names(name: str, odd: Path) -> None:
    for command in ("info", "chain", "map", "check", "dump", "hash"):
        hold(inspect.program, [command, name])
    for words in (["read", name, "0", "1"], ["compare", "a.vhdx", name], ["report", name, "-o", "out"]):
        hold(inspect.program, words)
    for words in (["report", "a.vhdx", "-o", name], ["map", "a.vhdx", "--svg", name, "--force"]):
        hold(inspect.program, words)
    for words in (
        ["create", name, "1M", "-f", "vhdx"],
        ["create", name, "-b", "a.vhdx"],
        ["create", "b.vhdx", "-b", name],
        ["convert", name, "out.vhd"],
        ["convert", "a.vhdx", name, "-O", "vhdx", "--force"],
        ["merge", name],
        ["merge", "a.vhdx", "--into", name],
        ["relink", "a.vhdx", name],
        ["relink", name, "a.vhdx"],
        ["resize", name, "+1M"],
        ["compact", name],
        ["replay", name],
        ["repair", name, "--dry-run"],
        ["repair", "a.vhdx", "--undo-file", name],
        ["repair", "a.vhdx", "--undo", "--undo-file", name],
    ):
        hold(img.program, words)
    if name not in ("-", "pipe", "/dev/zero", "/proc/self/mem"):  # streams that do not end
        hold(img.program, ["write", "a.vhdx", "0", "--from", name])
    assert not list(odd.glob("*.tmp"))


def test_an_undo_file_of_numbers_that_no_file_has(odd: Path) -> None:
    for size in (1 << 63, (1 << 64) - 1, 1 << 62):
        for record in (None, (WAS, 0, size), (SIZE, size, 0), (THEN, size, 1)):
            header = UndoHeader(size, 0, b"a.vhdx".ljust(256, b"\0"))
            data = checksum.seal(HEADER.build(header), field=HEADER_CHECKSUM)
            if record is not None:
                data += checksum.seal(RECORD.build(UndoRecord(*record, 0)), field=RECORD_CHECKSUM)
            Path("undo").write_bytes(data)
            before = Path("a.vhdx").read_bytes()
            assert hold(img.program, ["repair", "a.vhdx", "--undo", "--undo-file", "undo"]) == Exit.DAMAGED
            assert Path("a.vhdx").read_bytes() == before


def test_memory_that_runs_out_is_no_bug(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needed it is named."""

    def scarce(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Chain, "read", scarce)
    code, _, said = ended(inspect.program, ["read", "a.vhdx", "0", "4K"])
    assert code == Exit.FAILED
    assert "out of memory in vhdx.cli.looking.read" in said


# --- long names ------------------------------------------------------------------------------------------------------

LONG = ["a" * 237, "a" * 242, "a" * 250, "\N{SNOWMAN}" * 80 + "ab", "\N{GRINNING FACE}" * 62, "e\u0301" * 83]
"""As long as a file's name can be, with ``.vhdx`` behind it, or nearly; in letters of one to four bytes."""


@pytest.mark.parametrize("stem", LONG, ids=lambda stem: f"{len(stem)}-{len(stem.encode())}")
def test_long_names(stem: str, tmp_path: Path) -> None:
    """Every verb that makes a file beside it."""
    name, child = f"{stem}.vhdx", f"b{stem[1:]}.vhdx" if stem[0] == "a" else "child.vhdx"
    assert len(os.fsencode(name)) <= 255
    with inside(tmp_path):
        for words in (
            ["create", name, "4M"],
            ["create", child, "-b", name],
            ["merge", child],
            ["convert", name, "copy.vhdx"],
            ["convert", "copy.vhdx", name, "--force"],
            ["resize", name, "+1M"],
            ["compact", name],
        ):
            assert hold(img.program, words) == 0, words
        with Path(name).open("r+b") as file:
            file.seek(64 * 1024 + 4)
            file.write(b"\xff" * 4)
        damaged = Path(name).read_bytes()
        assert hold(img.program, ["repair", name]) == 0
        assert hold(img.program, ["repair", name, "--undo"]) == 0
        assert Path(name).read_bytes() == damaged
        (undo,) = (path for path in tmp_path.iterdir() if path.name.endswith(".undo"))
        undo.unlink()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "copy.vhdx"])


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=255))
def test_temporary_names_fit_and_are_known(name: str) -> None:
    """Never cut inside a letter, and as they always were where there is room."""
    for directory in ("", "some/where/"):
        made = temporary_name(directory + name, "0123abcd")
        assert made.startswith(directory)
        base = made.removeprefix(directory)
        assert is_temporary(base)
        assert len(base.encode()) <= 255
        assert len(base.encode("utf-16-le")) <= 2 * 255
        assert name.startswith(base.removesuffix(".0123abcd.tmp"))
        if len(name.encode()) <= 242:
            assert base == f"{name}.0123abcd.tmp"
