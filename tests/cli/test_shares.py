"""Both commands on a real server: every subcommand, who logs on, and no password anywhere it could be read."""

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import termios
from pathlib import Path

import pytest

from tests.cli import gallery
from tests.cli.bench import Bench
from tests.cli.conftest import Share, account, general
from tests.cli.running import SCRIPTS, SECONDS, Programs
from tests.support.disks import MIB, pattern
from tests.support.relay import Relay
from tests.support.signals import interruptible
from tests.support.smbd import Smbd
from vhdx.storage.smb import SmbPool

pytestmark = pytest.mark.smb
SILENCE = 15
"""Seconds after which a command on a terminal is taken to wait for somebody."""
UNPROTECTED = {0, 1}
"""Negotiation and log-on, which have no keys yet."""


@pytest.fixture
def stocked(share: Share, painted: Path) -> Share:
    """The share with a chain and a few more images on it."""
    for name in ("base.vhdx", "middle.vhdx", "leaf.vhdx", "dirty.vhdx", "dynamic.vhd", gallery.RAW):
        shutil.copy(painted / name, share.directory)
    return share


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["info", "chain", "map", "check --chain --deep", "dump", "read"])
def test_looking(command: str, stocked: Share, shared: Programs, looking: Programs) -> None:
    """The same is said as of the files on this machine, but for where they are."""
    name, *options = command.split()
    more = ["1M", "64K"] if name == "read" else []
    there = shared.inspect(name, stocked.url("leaf.vhdx"), *more, *options).out
    here = Programs(stocked.directory).inspect(name, "leaf.vhdx", *more, *options).out
    assert general(there.replace(stocked.url("")[:-1], "/disks"), looking.here) == general(here, stocked.directory)


def test_hash_and_compare(stocked: Share, shared: Programs, looking: Programs) -> None:
    local = looking.inspect("hash", "leaf.vhdx").out.split()[0]
    assert shared.inspect("hash", stocked.url("leaf.vhdx")).out == f"{local}  {stocked.url('leaf.vhdx')}\n"
    shared.inspect("compare", stocked.url("leaf.vhdx"), looking.here / "leaf.vhdx")
    shared.inspect("compare", looking.here / "base.vhdx", stocked.url("leaf.vhdx"), code=1)


def test_nothing_is_written(stocked: Share, shared: Programs) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in stocked.directory.iterdir()}
    for words in (["info"], ["check", "--deep"], ["hash"], ["map"]):
        shared.inspect(words[0], stocked.url("dirty.vhdx"), *words[1:])
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in stocked.directory.iterdir()} == before


def test_changing(share: Share, shared: Programs) -> None:
    """From an empty share to an empty share."""
    base, child, grandchild = (share.url(f"{name}.vhdx") for name in ("base", "child", "grandchild"))
    assert shared.img("create", base, "8M", "--block-size", "1M").out.startswith(f"{base}: vhdx, dynamic, ")
    shared.img("write", base, "700", stdin=b"below")
    shared.img("create", child, "-b", base)
    shared.img("create", grandchild, "-b", child)
    shared.img("write", grandchild, "1M", stdin=pattern(1, 2 * MIB))
    assert shared.inspect("info", child, "--json").json["parent"]["found"] == base
    said = shared.img("write", base, "0", stdin=b"x", code=4).err
    assert child in said
    would = shared.img("merge", grandchild, "--into", base, "--dry-run", "--json").json
    assert would["result"] == base
    shared.img("merge", grandchild, "--into", base)
    assert [path.name for path in share.directory.iterdir()] == ["base.vhdx"]
    shared.img("resize", base, "+8M")
    shared.img("write", base, "1M", stdin=bytes(2 * MIB))
    shared.img("compact", base)
    shared.img("replay", base)
    shared.img("repair", base)
    content = Bench(share.directory).content("base.vhdx")
    assert content == (bytes(700) + b"below").ljust(16 * MIB, b"\0")
    shared.inspect("check", base, "--deep")


def test_relink(stocked: Share, shared: Programs) -> None:
    (stocked.directory / "middle.vhdx").rename(stocked.directory / "moved.vhdx")
    shared.inspect("hash", stocked.url("leaf.vhdx"), code=2)
    shared.img("relink", stocked.url("leaf.vhdx"), stocked.url("moved.vhdx"))
    shared.inspect("hash", stocked.url("leaf.vhdx"))


def test_repair(stocked: Share, shared: Programs) -> None:
    path = stocked.directory / "dynamic.vhd"
    good = path.read_bytes()
    path.write_bytes(bytes(512) + good[512:])
    shared.img("repair", stocked.url("dynamic.vhd"))
    assert path.read_bytes() == good
    assert (stocked.directory / "dynamic.vhd.undo").exists()
    shared.img("repair", stocked.url("dynamic.vhd"), "--undo")
    assert path.read_bytes() == bytes(512) + good[512:]


def test_there_and_back(stocked: Share, shared: Programs, looking: Programs) -> None:
    shared.img("convert", stocked.url("leaf.vhdx"), "here.vhd")
    shared.img("convert", "here.vhd", stocked.url("there.vhdx"))
    shared.img("convert", stocked.url("there.vhdx"), stocked.url("again.raw"))
    shared.inspect("compare", looking.here / "leaf.vhdx", stocked.url("again.raw"), "-F", "raw")
    said = shared.img("convert", "here.vhd", stocked.url("there.vhdx"), code=4).err
    assert stocked.url("there.vhdx") in said
    shared.img("convert", stocked.url("there.vhdx"), stocked.url("there.vhdx"), "--force", code=4)
    assert not list(stocked.directory.glob("*.tmp"))


def test_parents_in_a_directory_of_the_share(share: Share, shared: Programs) -> None:
    bench = Bench(share.directory)
    for name in ("one", "two"):
        (share.directory / name).mkdir()
    bench.create("one/base.vhdx")
    bench.write("one/base.vhdx", 0, b"below")
    shown = shared.img("create", share.url("two/child.vhdx"), "-b", share.url("one/base.vhdx")).out
    (needed,) = re.findall(r"--parents-in (\S+)", shown)
    shared.inspect("hash", share.url("two/child.vhdx"), code=2)
    for directory in (needed, "one", "/one", "\\one\\", share.url("one"), share.url("one/")):
        found = shared.inspect("info", share.url("two/child.vhdx"), "--json", "--parents-in", directory).json["parent"]
        assert found["found"] == share.url("one/base.vhdx"), directory
    shared.inspect("info", share.url("two/child.vhdx"), "--parents-in", "smb://127.0.0.1/other/one", code=4)


# --- what fails ------------------------------------------------------------------------------------------------------


def test_what_is_not_there(share: Share, shared: Programs) -> None:
    assert share.url("nowhere.vhdx") in shared.inspect("info", share.url("nowhere.vhdx"), code=1).err
    other = share.url("a.vhdx").replace(share.name, "noshare")
    shared.inspect("info", other, code=1)
    shared.inspect("info", "smb://127.0.0.1:1/share/a.vhdx", code=1)


def test_in_use(stocked: Share, shared: Programs, smb_pool: SmbPool) -> None:
    import vhdx

    auth = vhdx.Credentials(stocked.server.user, stocked.server.password)
    with vhdx.open(stocked.url("dynamic.vhd"), writable=True, auth=auth, pool=smb_pool):
        shared.img("resize", stocked.url("dynamic.vhd"), "16M", code=5)
        shared.inspect("info", stocked.url("dynamic.vhd"))


def test_a_file_of_another_place(stocked: Share, shared: Programs) -> None:
    shared.bench.create("here.vhdx")
    for words in ("create child.vhdx -b {base}", "relink {base} here.vhdx", "merge {base} --into here.vhdx"):
        assert "share" in shared.img(*words.format(base=stocked.url("base.vhdx")).split(), code=4).err


@pytest.mark.parametrize(
    "location",
    ["\\\\server", "\\\\server\\share", "\\\\server\\share\\", "\\\\?\\C:\\a.vhdx", "\\\\.\\a", "\\\\a:1\\b\\c"],
)
def test_unc_paths_that_name_no_file(location: str, programs: Programs) -> None:
    assert "smb://" in programs.inspect("info", location, code=4).err


@pytest.mark.parametrize("location", ["smb://", "smb:///a/b", "smb://server", "smb://server/share", "smb:/server/a/b"])
def test_urls_that_name_no_file(location: str, programs: Programs) -> None:
    assert "smb://" in programs.inspect("info", location, code=4).err


def test_a_unc_path_goes_to_the_port_of_smb(programs: Programs, tmp_path: Path) -> None:
    """Nothing answers there, which is said of the path as a URL."""
    auth = account(tmp_path / "account", "somebody", "secret")
    said = programs.inspect("info", "\\\\127.0.0.1\\share\\a.vhdx", "--auth-file", auth, code=1).err
    assert "127.0.0.1" in said
    assert "secret" not in said


# --- who logs on -----------------------------------------------------------------------------------------------------


def test_nobody_says_who(stocked: Share, programs: Programs) -> None:
    said = programs.inspect("info", stocked.url("base.vhdx"), code=4).err
    for way in ("--auth-file", "VHDX_SMB_AUTH_FILE", "--kerberos"):
        assert way in said


def test_the_option_wins_over_the_environment(stocked: Share, shared: Programs, tmp_path: Path) -> None:
    wrong = account(tmp_path / "wrong", stocked.server.user, "wrong-password")
    shared.more["VHDX_SMB_AUTH_FILE"] = str(wrong)
    shared.inspect("info", stocked.url("base.vhdx"), "--auth-file", stocked.auth)


def test_an_account_file_of_smbclient(stocked: Share, programs: Programs) -> None:
    server = stocked.server
    auth = programs.here / "account"
    auth.write_text(f"# mine\n; yours\n\nUsername={server.user}\n  password ={server.password}\ndomain = WORKGROUP\n")
    auth.chmod(0o600)
    programs.inspect("info", stocked.url("base.vhdx"), "--auth-file", "account")
    programs.inspect("info", stocked.url("base.vhdx", user=server.user), "--auth-file", "account")


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
def test_a_wrong_password(debug: list[str], stocked: Share, programs: Programs, tmp_path: Path) -> None:
    secret = "Correct-Horse-7"
    auth = account(tmp_path / "wrong", stocked.server.user, secret)
    ended = programs.inspect("info", stocked.url("base.vhdx"), "--auth-file", auth, *debug, code=7)
    assert secret not in ended.err + ended.out
    assert stocked.server.user in ended.err or "account" in ended.err or "log" in ended.err


def test_an_unknown_user(stocked: Share, programs: Programs, tmp_path: Path) -> None:
    programs.inspect("info", stocked.url("a"), "--auth-file", account(tmp_path / "a", "nobody-here", "pass"), code=7)


@pytest.mark.parametrize("location", ["smb://user:{}@server/share/a.vhdx", "smb://dom;user:{}@server:1445/s/a"])
@pytest.mark.parametrize("secret", ["Tr0ub4dor", "Beta/slash", "Beta@at"])
def test_a_password_in_the_url_is_refused_and_not_repeated(location: str, secret: str, programs: Programs) -> None:
    for more in ([], ["--debug"]):
        said = programs.inspect("info", location.format(secret), *more, code=4).err
        assert secret not in said
        assert secret[:4] not in said


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666])
def test_a_file_that_everybody_may_read(mode: int, stocked: Share, programs: Programs) -> None:
    stocked.auth.chmod(mode)
    for more in ([], ["--debug"]):
        said = programs.inspect("info", stocked.url("base.vhdx"), "--auth-file", stocked.auth, *more, code=4).err
        assert "chmod 600" in said
        assert stocked.server.password not in said


@pytest.mark.parametrize(
    "content",
    [b"", b"password = hidden\n", b"hidden\n", b"username hidden\n", b"\xff\xfehidden", b"x" * 70000],
    ids=range(6),
)
def test_a_file_that_says_something_else(content: bytes, programs: Programs) -> None:
    (programs.here / "account").write_bytes(content)
    (programs.here / "account").chmod(0o600)
    said = programs.inspect("info", "smb://127.0.0.1:1/share/a", "--auth-file", "account", code=4).err
    assert "account" in said
    assert "hidden" not in said


def test_no_file_at_all(programs: Programs) -> None:
    programs.inspect("info", "smb://127.0.0.1:1/share/a", "--auth-file", "nowhere", code=1)
    programs.inspect("info", "smb://127.0.0.1:1/share/a", "--auth-file", ".", code=1)
    programs.more["VHDX_SMB_AUTH_FILE"] = "nowhere"
    assert "nowhere" in programs.inspect("info", "smb://127.0.0.1:1/share/a", code=1).err


# --- on a terminal ---------------------------------------------------------------------------------------------------


class Terminal:
    """A command on a terminal of its own, and somebody who types."""

    def __init__(self, programs: Programs, *words: str) -> None:
        self._mine, theirs = pty.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            interruptible([SCRIPTS / words[0], *words[1:]]),
            cwd=programs.here,
            env=programs.outside,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  no other way to a terminal
        )
        os.close(theirs)

    def until(self, text: str) -> None:
        """Wait until *text* is shown."""
        while text not in self.shown:
            if not self._read():
                raise AssertionError(f"ended without {text!r}: {self.shown!r}")

    def _read(self) -> bool:
        """Take what there is; whether there may be more. A program that waits for an answer ends here."""
        if not select.select([self._mine], [], [], SILENCE)[0]:
            self._process.kill()
            raise AssertionError(f"waits: {self.shown!r}")
        try:
            piece = os.read(self._mine, 4096)
        except OSError:
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)

    def type(self, text: str) -> None:
        os.write(self._mine, text.encode())

    def interrupt(self) -> int:
        """Press Ctrl-C until the program ends, and give its exit code.

        One that comes when a question was put, and nobody waits for the answer yet, counts only with the next key.
        """
        while self._process.poll() is None:
            with contextlib.suppress(OSError):
                self.type("\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        return self.end()

    def end(self) -> int:
        """Read the rest; the exit code."""
        while self._read():
            pass
        os.close(self._mine)
        return self._process.wait(SECONDS)


def test_the_question_has_no_empty_default(stocked: Share, programs: Programs) -> None:
    """Brackets in it would read as if there were a password already."""
    terminal = Terminal(programs, "vhdx-inspect", "info", stocked.url("base.vhdx", user="somebody"))
    terminal.until("Password for somebody on 127.0.0.1")
    terminal.interrupt()
    assert "[" not in terminal.shown


def test_a_password_is_asked_for_and_not_shown(stocked: Share, programs: Programs) -> None:
    terminal = Terminal(programs, "vhdx-inspect", "info", stocked.url("base.vhdx"))
    terminal.until("User for 127.0.0.1")
    terminal.type(f"{stocked.server.user}\n")
    terminal.until("Password for")
    terminal.type(f"{stocked.server.password}\n")
    assert terminal.end() == 0
    assert "virtual size" in terminal.shown
    assert stocked.server.password not in terminal.shown


def test_a_user_in_the_url_is_not_asked_for(stocked: Share, programs: Programs) -> None:
    terminal = Terminal(programs, "vhdx-inspect", "info", stocked.url("base.vhdx", user=stocked.server.user))
    terminal.until(f"Password for {stocked.server.user} on 127.0.0.1")
    terminal.type("wrong-password\n")
    assert terminal.end() == 7
    assert "User for" not in terminal.shown
    assert "wrong-password" not in terminal.shown


def test_one_question_for_one_command(stocked: Share, programs: Programs) -> None:
    """Source and target, or image and parent, on one server: nobody types a password twice."""
    user = stocked.server.user
    place = stocked.url("leaf.vhdx", user=user)
    terminal = Terminal(programs, "vhdx-inspect", "compare", place, place)
    terminal.until("Password for")
    terminal.type(f"{stocked.server.password}\n")
    terminal.until("the disks are identical")
    assert terminal.end() == 0
    assert terminal.shown.count("Password for") == 1


def test_ctrl_c_instead_of_a_password(stocked: Share, programs: Programs) -> None:
    terminal = Terminal(programs, "vhdx-inspect", "info", stocked.url("base.vhdx", user="somebody"))
    terminal.until("Password for")
    assert terminal.interrupt() == 130
    assert "Traceback" not in terminal.shown


def test_a_user_with_control_characters(stocked: Share, programs: Programs) -> None:
    """Refused, or asked for the password of in harmless letters."""
    terminal = Terminal(programs, "vhdx-inspect", "info", stocked.url("base.vhdx", user="a%1b[31m"))
    with contextlib.suppress(AssertionError):
        terminal.until("Password for")
        terminal.type("\n")
    assert terminal.end() in (4, 7)
    assert "\x1b[31m" not in terminal.shown


# --- encryption ------------------------------------------------------------------------------------------------------


def test_a_share_that_demands_encryption(smbd: Smbd, smb_pool: SmbPool, tmp_path: Path, painted: Path) -> None:
    from tests.conftest import connect

    directory = tmp_path / "secret"
    directory.mkdir()
    shutil.copy(painted / "dynamic.vhdx", directory)
    name = connect(smbd, smb_pool, directory, "smb encrypt = required").name.rpartition("/")[2]
    share = Share(smbd, name, directory, account(tmp_path / "account", smbd.user, smbd.password))
    programs = Programs(directory, {"VHDX_SMB_AUTH_FILE": str(share.auth)})
    programs.inspect("info", share.url("dynamic.vhdx"), "--smb-encrypt")
    programs.inspect("info", share.url("dynamic.vhdx"))


@pytest.mark.parametrize("encrypt", [True, False], ids=["encrypted", "signed"])
def test_what_crosses_the_wire(encrypt: bool, stocked: Share, shared: Programs, relay: Relay) -> None:
    words = ["hash", stocked.url("leaf.vhdx", port=relay.port), *(["--smb-encrypt"] if encrypt else [])]
    shared.inspect(*words)
    frames = [frame for frame in relay.seen if frame.command not in UNPROTECTED]
    assert len(frames) > 10
    assert {frame.encrypted for frame in frames} == {encrypt}
    assert encrypt or all(frame.signed for frame in frames if frame.status != 0x103)
