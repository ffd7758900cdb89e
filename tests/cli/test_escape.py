"""What images and names say never steers a terminal: every control character is written as an escape.

`Programs` checks it of every run; here are the runs in which it is tried.
"""

import struct
from pathlib import Path

import pytest

from tests.cli.running import Programs
from tests.image.forge import Forge
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

EVIL = "e\x1b[31m\n\r\a\b\x7f\x9b31m\N{RIGHT-TO-LEFT OVERRIDE}\N{LINE SEPARATOR}"
ESCAPED = r"e\x1b[31m\n\r\x07\x08\x7f\x9b31m\u202e\u2028"
LOOKING = ["info", "chain", "map", "check", "hash", "dump"]


@pytest.mark.parametrize("command", LOOKING)
def test_the_name_of_a_file(command: str, programs: Programs) -> None:
    programs.bench.create(f"{EVIL}.vhdx")
    ended = programs.inspect(command, f"{EVIL}.vhdx")
    assert ESCAPED in ended.out or command == "dump"
    ended = programs.inspect(command, f"no{EVIL}.vhdx", code=1)
    assert ESCAPED in ended.err


def test_names_in_json(programs: Programs) -> None:
    programs.bench.create(f"{EVIL}.vhdx")
    for command in ("info", "check", "hash"):
        assert programs.inspect(command, f"{EVIL}.vhdx", "--json").json["path"] == str(programs.here / f"{EVIL}.vhdx")


@pytest.mark.parametrize(
    "words",
    [
        [EVIL],
        ["create", "a.vhdx", EVIL],
        ["create", f"a.{EVIL}", "8M"],
        ["create", "a.vhdx", "8M", "-f", EVIL],
        ["create", "a.vhdx", "8M", f"--{EVIL}"],
        ["create", "a.vhdx", "8M", EVIL],
        ["create", f"smb://{EVIL}/share/a.vhdx", "8M"],
        ["create", f"\\\\{EVIL}\\share\\a.vhdx", "8M"],
        ["create", f"ftp://{EVIL}", "8M"],
        ["create", f"{EVIL}/a.vhdx", "8M"],
        ["create", "a.vhdx", "-b", EVIL],
        ["convert", EVIL, "a.vhdx"],
        ["resize", "x.vhdx", "16M", "--parents-in", f"smb://{EVIL}"],
        ["write", "x.vhdx", "0", "--from", EVIL],
        ["repair", "x.vhdx", "--undo", "--undo-file", EVIL],
        ["resize", "smb://127.0.0.1:1/share/a.vhdx", "16M", "--auth-file", EVIL],
    ],
    ids=lambda words: words[0] if words[0] != EVIL else "command",
)
def test_arguments(words: list[str], programs: Programs) -> None:
    programs.bench.create("x.vhdx")
    programs.img(*words, code=(1, 2, 4, 64))


def test_an_account_file(programs: Programs) -> None:
    """Also what is in it is not shown, whatever it is."""
    for content in (f"{EVIL}\n", "user = hidden\n", "password hidden\n", "username =\nhidden"):
        (programs.here / EVIL).write_text(content, newline="")
        (programs.here / EVIL).chmod(0o600)
        words = ["info", "smb://127.0.0.1:1/share/a.vhdx", "--auth-file", EVIL]
        assert "hidden" not in programs.inspect(*words, code=(1, 4)).err


def crafted(directory: Path, name: str) -> None:
    """A child whose creator and whose paths of the parent are full of control characters, with good checksums."""
    files = LocalFileSystem(directory)
    engine = NativeEngine()
    engine.create(files, "xxxxxxxxxxxxxxxxxxxxxxxx.vhdx", 8 << 20)
    engine.create_child(files, name, "xxxxxxxxxxxxxxxxxxxxxxxx.vhdx")
    forge = Forge(files, name)
    forge.write(8, f"by {EVIL}".encode("utf-16-le"))
    whole = forge.read(forge.metadata, 1 << 20)
    old = "xxxxxxxxxxxxxxxxxxxxxxxx".encode("utf-16-le")
    assert whole.count(old) >= 1
    forge.write(forge.metadata, whole.replace(old, EVIL.ljust(24, "y").encode("utf-16-le")))


@pytest.mark.parametrize("command", [*LOOKING, "check --chain"])
def test_what_an_image_says(command: str, programs: Programs) -> None:
    crafted(programs.here, "child.vhdx")
    ended = programs.inspect(*command.split()[:1], "child.vhdx", *command.split()[1:], code=(0, 2, 3))
    if command in ("info", "chain", "map", "hash"):
        assert r"\x1b[31m" in ended.out + ended.err
    (found,) = [programs.inspect("info", "child.vhdx", "--json").json]
    assert found["creator"] == f"by {EVIL}"


def test_what_an_image_says_to_a_command_that_changes(programs: Programs) -> None:
    crafted(programs.here, "child.vhdx")
    for words in (["merge", "child.vhdx"], ["resize", "child.vhdx", "16M"], ["compact", "child.vhdx"]):
        assert r"\x1b[31m" in programs.img(*words, code=2).err


def test_the_name_of_a_vhds_parent(programs: Programs) -> None:
    programs.bench.create("base.vhd")
    programs.bench.child("child.vhd", "base.vhd")
    path = programs.here / "child.vhd"
    content = bytearray(path.read_bytes())
    header = content[512:1536]
    header[64 : 64 + 512] = f"{EVIL}.vhd".encode("utf-16-be").ljust(512, b"\0")
    header[36:40] = bytes(4)
    header[36:40] = struct.pack(">I", ~sum(header) & 0xFFFFFFFF)
    content[512:1536] = header
    content[28:32] = content[-512 + 28 : -512 + 32] = b"\x1b[2J"[:4]
    for start in (0, len(content) - 512):
        footer = content[start : start + 512]
        footer[64:68] = bytes(4)
        content[start + 64 : start + 68] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
    path.write_bytes(content)
    for command in LOOKING:
        programs.inspect(command, "child.vhd", code=(0, 2, 3))


def test_a_sibling_with_such_a_name(programs: Programs) -> None:
    programs.bench.create("base.vhdx")
    programs.bench.child("child.vhdx", "base.vhdx")
    (programs.here / f"{EVIL}.vhdx").write_bytes((programs.here / "child.vhdx").read_bytes())
    assert ESCAPED in programs.inspect("chain", "child.vhdx").out
    assert ESCAPED in programs.img("resize", "base.vhdx", "16M", code=4).err
    programs.bench.write("child.vhdx", 0, b"x")
    assert ESCAPED in programs.img("merge", "child.vhdx", code=4).err
    assert ESCAPED in programs.img("merge", "child.vhdx", "--orphan").out


def test_bytes_of_the_disk(programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    programs.bench.write("a.vhdx", 0, f"{EVIL} \x00\xff".encode())
    assert "\x1b" not in programs.inspect("read", "a.vhdx", "0", "512").out
