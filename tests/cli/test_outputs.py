"""Nothing but an image verb ever writes over an image; and files are no wider open than what they come from."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click
import pytest

from tests.cli.running import Programs
from tests.cli.test_exit_codes import small
from tests.support.disks import MIB, pattern
from vhdx.cli import inspect
from vhdx.cli.program import run
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.building import building
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.permissions import narrowest
from vhdx.verbs.engine import NativeEngine

INPUTS = {"--auth-file"}
"""Options with a file that is only read."""


def outputs() -> Iterator[tuple[str, str]]:
    """Every option of every command of vhdx-inspect that names a file to be written."""
    context = click.Context(inspect.program)
    for name in inspect.program.list_commands(context):
        command = inspect.program.get_command(context, name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and option.metavar == "FILE" and not set(option.opts) & INPUTS:
                yield name, option.opts[0]


OUTPUTS = list(outputs())


def test_there_are_some() -> None:
    assert {("map", "--svg"), ("map", "--png"), ("report", "-o")} <= set(OUTPUTS)


def ended(*words: str) -> int:
    """Run ``vhdx-inspect`` in this process; its exit code."""
    with pytest.raises(SystemExit) as end:
        run(inspect.program, list(words))
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A chain, images and disks of every kind, and links to them; what is not to be written over."""
    files, engine = LocalFileSystem(tmp_path), NativeEngine()
    for kind in ("vhdx", "vhd"):
        engine.create(files, f"base.{kind}", 4 * MIB, CreateOptions(format=ImageFormat(kind)))
        engine.create_child(files, f"leaf.{kind}", f"base.{kind}")
    engine.create(files, "other.vhd", 4 * MIB, CreateOptions(format=ImageFormat.VHD, fixed=True))
    # A parent that is damaged beyond recognition is one all the same.
    engine.create(files, "lost.vhdx", 4 * MIB)
    engine.create_child(files, "orphan.vhdx", "lost.vhdx")
    (tmp_path / "lost.vhdx").write_bytes(pattern(1, MIB))
    (tmp_path / "disk.raw").write_bytes(pattern(2, 510) + b"\x55\xaa" + pattern(3, MIB))
    (tmp_path / "any.raw").write_bytes(pattern(2, MIB))
    for name, start in {"a.qcow2": b"QFI\xfb", "a.vmdk": b"KDMV", "a.gz": b"\x1f\x8b", "a.undo": b"vhdxundo"}.items():
        (tmp_path / name).write_bytes(start + pattern(4, 4096))
    (tmp_path / "symbolic").symlink_to("base.vhdx")
    (tmp_path / "hard").hardlink_to(tmp_path / "leaf.vhdx")
    (tmp_path / "far").symlink_to("symbolic")
    return tmp_path


def everything(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.lstat().st_ino) for path in directory.iterdir()}


@pytest.mark.parametrize(("command", "option"), OUTPUTS)
def test_no_image_is_written_over(command: str, option: str, precious: Path) -> None:
    before = everything(precious)
    subjects = {"leaf.vhdx": [], "leaf.vhd": [], "any.raw": ["-f", "raw"]}
    if command != "map":
        subjects["orphan.vhdx"] = []
    for subject, more in subjects.items():
        for target in before:
            if target == "any.raw" != subject or (target == "lost.vhdx" and subject != "orphan.vhdx"):
                continue  # bytes that nothing tells from rubbish
            words = [command, str(precious / subject), *more, option, str(precious / target), "--force"]
            assert ended(*words) == 4, target
    assert everything(precious) == before


@pytest.mark.parametrize("command", [["map", "--layer", "--svg"], ["report", "-o"]], ids=" ".join)
def test_nor_a_parent_that_is_not_opened(command: list[str], precious: Path) -> None:
    for target in ("base.vhdx", "lost.vhdx"):
        subject = "orphan.vhdx" if target == "lost.vhdx" else "leaf.vhdx"
        name, *options = command
        assert ended(name, str(precious / subject), *options, str(precious / target), "--force") == 4


@pytest.mark.parametrize(("command", "option"), OUTPUTS)
def test_other_files_are_replaced_only_when_told_to(command: str, option: str, precious: Path) -> None:
    target = precious / "target"
    words = [command, str(precious / "leaf.vhdx"), option, str(target)]
    for old in (b"", b"a note", b"<svg>"):
        target.write_bytes(old)
        target.chmod(0o604)
        assert ended(*words) == 4
        assert target.read_bytes() == old
        assert ended(*words, "--force") == 0
        assert len(target.read_bytes()) > len(old)
        assert mode(target) == 0o604
    os.mkfifo(precious / "pipe")
    for other in (precious / "pipe", precious, precious / "nowhere" / "file"):
        assert ended(command, str(precious / "leaf.vhdx"), option, str(other), "--force") in (1, 4)
    assert not list(precious.glob("*.tmp"))


@pytest.mark.parametrize(("command", "option"), OUTPUTS)
def test_a_full_disk_names_the_file_and_leaves_nothing(command: str, option: str, tmp_path: Path) -> None:
    with small(tmp_path, 16 * MIB) as place:
        programs = Programs(tmp_path / "images")
        programs.here.mkdir()
        programs.bench.create("a.vhdx")
        kept = place / "kept"
        kept.write_bytes(b"kept")
        with (place / "ballast").open("wb") as ballast, pytest.raises(OSError, match="space"):
            while True:
                ballast.write(bytes(4096))
                ballast.flush()
        for target, words in ((place / "new", []), (kept, ["--force"])):
            said = programs.inspect(command, "a.vhdx", option, target, *words, code=6).err
            assert f"{target}: " in said
        assert sorted(path.name for path in place.iterdir()) == ["ballast", "kept", "lost+found"]
        assert kept.read_bytes() == b"kept"


# --- permissions -----------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077, 0])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o444, 0o666])
def test_new_files_are_no_wider_open_than_their_source(bits: int, umask: int, tmp_path: Path) -> None:
    """A copy, a child, an undo file and a picture; their owner may always write to them."""
    programs = Programs(tmp_path)
    programs.bench.create("a.vhdx")
    (tmp_path / "a.vhdx").chmod(bits)
    files, engine = LocalFileSystem(tmp_path), NativeEngine()
    engine.convert(files, "a.vhdx", files, "copy.vhd", options=CreateOptions(format=ImageFormat.VHD))
    engine.create_child(files, "child.vhdx", "a.vhdx")
    assert ended("map", str(tmp_path / "a.vhdx"), "--svg", str(tmp_path / "map.svg")) == 0
    with (tmp_path / "a.vhdx").open("r+b") as file:
        file.seek(64 * 1024 + 4)
        file.write(b"\xff" * 4)
    assert engine.repair(files, "a.vhdx", undo="a.undo")
    for name in ("copy.vhd", "child.vhdx", "map.svg", "a.undo"):
        assert mode(tmp_path / name) == (0o600 | bits & 0o066) & ~umask, name
    assert mode(tmp_path / "a.vhdx") == bits


@pytest.mark.parametrize("bits", [0o600, 0o664, 0o640])
def test_what_replaces_a_file_is_as_it_was(bits: int, umask: int, tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    programs.bench.create("a.vhdx")
    files, engine = LocalFileSystem(tmp_path), NativeEngine()
    for name in ("copy.vhd", "new.vhdx"):
        (tmp_path / name).write_bytes(b"old")
        (tmp_path / name).chmod(bits)
        if os.geteuid() == 0:
            os.chown(tmp_path / name, 1234, 4321)
    options = CreateOptions(format=ImageFormat.VHD)
    engine.convert(files, "a.vhdx", files, "copy.vhd", options=options, replace=True)
    engine.create(files, "new.vhdx", MIB, replace=True)
    for name in ("copy.vhd", "new.vhdx"):
        assert mode(tmp_path / name) == bits
        if os.geteuid() == 0:
            status = (tmp_path / name).stat()
            assert (status.st_uid, status.st_gid) == (1234, 4321)


def test_a_temporary_is_never_wider_open(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "open").touch(0o644)
    sources = [files.stat("open"), files.stat("secret")]
    with building(files, "new", token="0" * 8, sources=sources):
        assert mode(tmp_path / f"new.{'0' * 8}.tmp") == 0o600
    with building(files, "secret", token="0" * 8, replace=True, sources=[files.stat("open")]):
        assert mode(tmp_path / f"secret.{'0' * 8}.tmp") == 0o600


def test_another_group_gets_what_everybody_gets(tmp_path: Path) -> None:
    """Who could not read the source as a member of some group cannot read the copy as one of another."""
    if os.geteuid() != 0:
        pytest.skip("files of another group need root")
    files = LocalFileSystem(tmp_path)
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(0o664)
    os.chown(tmp_path / "a", 0, 4321)
    with building(files, "b", token="0" * 8, sources=[files.stat("a")]):
        pass
    assert mode(tmp_path / "b") & 0o070 == 0o040
    (tmp_path / "c").touch(0o600)
    both = narrowest([files.stat("a"), files.stat("c")])
    assert both is not None
    assert both.mode == 0o600


def test_who_may_not_give_files_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They keep the file, and their group gets no rights that another group had."""

    def refused(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    files = LocalFileSystem(tmp_path)
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o664)
    monkeypatch.setattr(os, "getegid", lambda: 4321)
    monkeypatch.setattr(os, "fchown", refused)
    like = replace(files.stat("old"), owner=(1234, 4321))
    with closing(files.create("new", like=like, exact=True)):
        assert mode(tmp_path / "new") == 0o644
