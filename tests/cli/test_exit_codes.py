"""How commands end: a code for each kind of failure, one line that says why, and images that are sound after a stop."""

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import vhdx
from tests.cli import gallery
from tests.cli.running import SCRIPTS, SECONDS, Ended, Programs, hold
from tests.support.disks import MIB, pattern
from tests.support.mounts import CannotMountError, mounted
from tests.support.signals import interruptible
from vhdx.cli.summaries import LISTS

LARGE = 512 * MIB


# --- one kind after the other ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["info", "chain", "map", "hash", "check"])
def test_no_such_file(command: str, programs: Programs) -> None:
    """The file is named in full, so that nobody wonders where it was looked for."""
    said = programs.inspect(command, "nowhere.vhdx", code=1).err
    assert said == f"vhdx-inspect: {programs.here}/nowhere.vhdx: No such file or directory\n"


@pytest.mark.parametrize("command", ["info", "chain", "map", "hash"])
def test_damaged(command: str, looking: Programs) -> None:
    said = looking.inspect(command, gallery.RUBBISH, code=2).err
    assert str(looking.here / gallery.RUBBISH) in said
    assert "offset 0" in said


def test_in_use(programs: Programs) -> None:
    """Only `info` and `chain` look at what somebody else writes to."""
    programs.bench.create("a.vhdx")
    with vhdx.open(programs.here / "a.vhdx", writable=True):
        for words in (["resize", "a.vhdx", "16M"], ["compact", "a.vhdx"], ["write", "a.vhdx", "0"]):
            assert "a.vhdx" in programs.img(*words, stdin=b"x", code=5).err
        for command in ("hash", "map"):
            programs.inspect(command, "a.vhdx", code=5)
        programs.inspect("check", "a.vhdx", code=1)
        programs.inspect("compare", "a.vhdx", "a.vhdx", code=3)
        programs.inspect("info", "a.vhdx")
        programs.inspect("chain", "a.vhdx")
        programs.img("create", "a.vhdx", "8M", "--force", code=5)
    programs.img("resize", "a.vhdx", "16M")


def test_read_by_others(programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    with vhdx.open(programs.here / "a.vhdx"):
        programs.inspect("hash", "a.vhdx")
        programs.img("resize", "a.vhdx", "16M", code=5)


def no_larger_than(size: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_no_space(programs: Programs) -> None:
    """The image is sound afterwards, and a target that could not be finished is gone."""
    programs.bench.create("a.vhdx", 64 * MIB, block=MIB)
    programs.bench.write("a.vhdx", 0, pattern(1, 16 * MIB))
    limited = no_larger_than(8 * MIB)
    for words in ("convert a.vhdx b.vhd", "convert a.vhdx b.raw", "create c.vhd 1G -t fixed"):
        said = programs.img(*words.split(), prepare=limited, code=6).err
        assert str(programs.here) in said
    assert programs.bench.names() == ["a.vhdx"]
    programs.img("write", "a.vhdx", "40M", stdin=pattern(2, 16 * MIB), prepare=no_larger_than(24 * MIB), code=6)
    programs.inspect("check", "a.vhdx", code=(0, 3))
    with vhdx.open(programs.here / "a.vhdx") as disk:
        assert disk.read(0, 16 * MIB) == pattern(1, 16 * MIB)


@contextmanager
def small(tmp_path: Path, size: int) -> Iterator[Path]:
    try:
        with mounted("ext4", size, tmp_path) as place:
            yield place
    except CannotMountError as error:
        pytest.skip(f"no file system of its own: {error}")


def test_a_full_disk(tmp_path: Path) -> None:
    with small(tmp_path, 32 * MIB) as place:
        programs = Programs(place)
        programs.bench.create("base.vhdx", 64 * MIB, block=MIB)
        programs.bench.child("child.vhdx", "base.vhdx")
        programs.bench.write("child.vhdx", 0, pattern(1, 14 * MIB))
        before = programs.bench.names()
        assert "bytes" in programs.img("merge", "child.vhdx", code=6).err
        programs.img("convert", "child.vhdx", "copy.vhdx", code=6)
        programs.img("write", "child.vhdx", "20M", stdin=pattern(2, 30 * MIB), code=6)
        assert programs.bench.names() == before
        assert programs.bench.content("child.vhdx")[: 14 * MIB] == pattern(1, 14 * MIB)


def without_privileges() -> list[str]:
    """What runs a program with no more rights on files than the permissions give."""
    return [] if os.geteuid() else ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


def test_not_allowed(programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    (programs.here / "account").write_text("username = x\n")
    for name in ("a.vhdx", "account"):
        (programs.here / name).chmod(0)
    before = without_privileges()
    for command in ("info", "hash", "map"):
        said = programs.inspect(command, "a.vhdx", before=before, code=7).err
        assert f"{programs.here}/a.vhdx: Permission denied" in said
    programs.inspect("check", "a.vhdx", before=before, code=1)
    programs.img("resize", "a.vhdx", "16M", before=before, code=7)
    words = ["info", "smb://127.0.0.1:1/share/a.vhdx", "--auth-file", "account"]
    assert "account: Permission denied" in programs.inspect(*words, before=before, code=7).err
    (programs.here / "a.vhdx").chmod(0o444)
    programs.inspect("hash", "a.vhdx", before=before)
    assert "a.vhdx: Permission denied" in programs.img("resize", "a.vhdx", "16M", before=before, code=7).err
    programs.bench.create("b.vhdx")
    names = programs.bench.names()
    for words in (["create", "a.vhdx", "8M"], ["convert", "b.vhdx", "a.vhdx"]):
        said = programs.img(*words, "--force", before=before, code=7).err
        assert "a.vhdx: not writable, so it cannot be replaced" in said
    assert programs.bench.names() == names, "what took its permissions could not be removed"


def test_a_directory_that_takes_no_files(programs: Programs) -> None:
    (programs.here / "closed").mkdir(mode=0o500)
    programs.img("create", "closed/a.vhdx", "8M", before=without_privileges(), code=7)


def test_usage(programs: Programs) -> None:
    for words in ("nonsense", "info", "info a b", "info --nonsense a", "info -f qcow2 a"):
        assert "--help" in programs.inspect(*words.split(), code=64).err


def test_debug(programs: Programs) -> None:
    """The traceback comes with the line that is always there, wherever it is asked for."""
    for words in (["info", "nowhere", "--debug"], ["--debug", "info", "nowhere"]):
        said = programs.inspect(*words, code=1).err
        assert said.startswith("Traceback")
        assert said.endswith("No such file or directory\n")
    programs.more["VHDX_DEBUG"] = "1"
    assert shell("vhdx-inspect info nowhere", programs).stderr.startswith(b"Traceback")
    programs.inspect("info", code=64)


def shell(script: str, programs: Programs) -> "subprocess.CompletedProcess[bytes]":
    """Run a script of bash."""
    return subprocess.run(
        ["bash", "-c", script],
        cwd=programs.here,
        env=programs.outside,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["vhdx-inspect read a.vhdx 0 64M", "vhdx-inspect read a.vhdx 0 64M --raw", "vhdx-inspect map a.vhdx --json"],
)
def test_nobody_reads_what_is_printed(command: str, programs: Programs) -> None:
    programs.bench.create("a.vhdx", 64 * MIB, block=MIB)
    with vhdx.open(programs.here / "a.vhdx", writable=True) as disk:
        for number in range(0, 64 * MIB, 2 * MIB):
            disk.write(number, pattern(number, MIB))
    script = f"set -o pipefail; {command} | head -c 20 >/dev/null; echo ${{PIPESTATUS[0]}}"
    if "map" in command:  # it has less to say than a pipe takes, so the reader is gone before
        script = f"set -o pipefail; (sleep 0.1; {command}) | true; echo ${{PIPESTATUS[0]}}"
    done = shell(script, programs)
    assert done.stderr == b""
    assert done.stdout == b"141\n"


UNREAD = [
    *(f"{program} {name} --help" for program, names in LISTS.items() for name in ("", *names)),
    *(f"vhdx-inspect {words}" for words in (
        "", "--version", "info a.vhdx", "info --json a.vhdx", "info child.vhdx", "chain a.vhdx", "map a.vhdx",
        "check a.vhdx", "check bad.vhdx", "check --json bad.vhdx", "dump a.vhdx", "dump bad.vhdx", "hash a.vhdx",
        "compare a.vhdx b.vhdx", "compare --json a.vhdx b.vhdx", "read a.vhdx 0 1K", "read a.vhdx 0 1K --raw",
        "report a.vhdx -o page.html",
    )),
    *(f"vhdx-img {words}" for words in (
        "", "--version", "create new.vhdx 1M", "convert a.vhdx new.raw", "merge child.vhdx --dry-run",
        "resize b.vhdx 9M", "compact a.vhdx", "replay a.vhdx", "repair a.vhdx", "relink child.vhdx a.vhdx",
        "write b.vhdx 0",
    )),
]  # fmt: skip


@pytest.fixture(scope="module")
def unread(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Images that are sound, damaged and of other content."""
    programs = Programs(tmp_path_factory.mktemp("unread"))
    for name in ("a.vhdx", "b.vhdx", "bad.vhdx"):
        programs.bench.create(name)
    programs.bench.write("b.vhdx", 0, b"other")
    programs.bench.child("child.vhdx", "a.vhdx")
    with (programs.here / "bad.vhdx").open("r+b") as file:
        file.seek(128 << 10)
        file.write(bytes(4096))
    return programs


@pytest.mark.parametrize("command", UNREAD)
def test_nobody_reads_from_the_start(command: str, unread: Programs) -> None:
    """Whatever a command has to say, and however it would have ended."""
    assert unread_code(command, unread, "stdout") == 141


@pytest.mark.parametrize("command", ["vhdx-inspect info nowhere", "vhdx-img nothing", "vhdx-inspect read a.vhdx 0 0KB"])
def test_nobody_reads_what_is_wrong(command: str, unread: Programs) -> None:
    assert unread_code(command, unread, "stderr") == 141


def unread_code(command: str, programs: Programs, stream: str) -> int:
    """The exit code of a command one of whose streams is a pipe that nobody reads from any more."""
    program, *words = command.split()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, stream: writer}
        done = subprocess.run(
            [SCRIPTS / program, *words],
            cwd=programs.here, env=programs.outside, timeout=SECONDS, check=False, **streams,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert not done.stderr
    return done.returncode


@pytest.mark.parametrize("stream", [">&-", "2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize(("name", "code"), [("a.vhdx", 0), ("nowhere.vhdx", 1)])
def test_a_stream_that_is_closed(name: str, code: int, stream: str, programs: Programs) -> None:
    """As cron and daemons may start a command."""
    programs.bench.create("a.vhdx")
    done = shell(f"vhdx-inspect info {name} {stream}; echo $? >code", programs)
    assert b"Traceback" not in done.stderr
    assert int((programs.here / "code").read_text()) == code


def test_a_full_output(programs: Programs) -> None:
    """What is full is said: not the disk with the image."""
    programs.bench.create("a.vhdx")
    for command in ("info", "check"):
        done = shell(f"vhdx-inspect {command} a.vhdx >/dev/full", programs)
        assert done.returncode in (1, 6)
        assert re.fullmatch(rb"vhdx-inspect: standard output: .*\n", done.stderr), done.stderr


def test_an_ascii_terminal(programs: Programs) -> None:
    programs.more |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    programs.bench.create("a\N{SNOWMAN}.vhdx")
    assert "a" in programs.inspect("info", "a\N{SNOWMAN}.vhdx").out


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_once(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """A chain whose upper layer holds much."""
    programs = Programs(tmp_path_factory.mktemp("large"))
    programs.bench.create("base.vhdx", LARGE, block=2 * MIB)
    programs.bench.write("base.vhdx", 0, pattern(1, MIB))
    programs.bench.child("child.vhdx", "base.vhdx")
    piece = pattern(2, 32 * MIB)
    with vhdx.open(programs.here / "child.vhdx", writable=True) as disk:
        for offset in range(MIB, LARGE - 32 * MIB, 32 * MIB):
            disk.write(offset, piece)
    return programs


@pytest.fixture
def large(large_once: Programs) -> Iterator[Programs]:
    """The same, which a test leaves as it is; what it adds goes when it is over."""
    before = large_once.bench.names()
    yield large_once
    for name in set(large_once.bench.names()) - set(before):
        (large_once.here / name).unlink()


def moved_by(pid: int) -> int:
    """How many bytes a process has read and written so far."""
    try:
        text = Path(f"/proc/{pid}/io").read_text()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return 1 << 62
        raise
    return sum(int(found) for found in re.findall(r"^[rw]char: (\d+)", text, re.MULTILINE))


def interrupted(programs: Programs, *words: str, times: int = 1) -> Ended:
    """Stop a program as soon as it has moved a part of what it is to move."""
    process = subprocess.Popen(
        interruptible([SCRIPTS / words[0], *words[1:]]),
        cwd=programs.here,
        env=programs.outside,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + SECONDS
    while moved_by(process.pid) < 40 * MIB and time.monotonic() < deadline:
        time.sleep(0.002)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.005)
    out, err = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, out, err.decode())


@pytest.mark.parametrize(("before", "ignored"), [([], True), (interruptible([]), False)], ids=["as it is", "set"])
def test_a_program_can_be_interrupted_whatever_was_inherited(before: list[str], ignored: bool) -> None:
    """As in the background of a shell: the tests that stop a program have to work there, too."""
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *before, "cat", "/proc/self/status"]
    status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    mask = re.search(r"^SigIgn:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert mask
    assert bool(int(mask[1], 16) >> (signal.SIGINT - 1) & 1) is ignored


def stopped(ended: Ended, words: list[str]) -> str:
    """What is said after a stop: a notice that it was heard, and the line that every failure has."""
    assert ended.code == 130, ended
    assert not ended.raw
    *notice, last = ended.err.strip("\n").splitlines()
    assert len(notice) <= 1
    hold(Ended(130, b"", f"{last}\n"), words)
    return last


def test_convert_is_stopped(large: Programs) -> None:
    words = ["vhdx-img", "convert", "child.vhdx", "copy.vhd"]
    last = stopped(interrupted(large, *words), words)
    assert "incomplete copy was removed" in last
    assert large.bench.names() == ["base.vhdx", "child.vhdx"]
    large.img(*words[1:])
    large.inspect("compare", "child.vhdx", "copy.vhd")


def test_merge_is_stopped(large_once: Programs, programs: Programs) -> None:
    """Both disks read as before, and the same command again does what it was to do."""
    large = programs
    for name in large_once.bench.names():
        shutil.copyfile(large_once.here / name, large.here / name)
    wanted = large.bench.digest("child.vhdx")
    words = ["vhdx-img", "merge", "child.vhdx"]
    last = stopped(interrupted(large, *words), words)
    assert "again" in last
    assert large.bench.digest("child.vhdx") == wanted
    large.inspect("check", "child.vhdx", "--chain")
    large.img("merge", "child.vhdx")
    assert large.bench.names() == ["base.vhdx"]
    assert large.bench.digest("base.vhdx") == wanted
    large.inspect("check", "base.vhdx")


@pytest.mark.parametrize("command", ["check child.vhdx --deep", "compare child.vhdx base.vhdx", "hash child.vhdx"])
def test_looking_is_stopped(command: str, large: Programs) -> None:
    """`check` and `compare` have codes of their own, and a stop is none of them."""
    words = ["vhdx-inspect", *command.split()]
    for _ in range(5):
        ended = interrupted(large, *words)
        if ended.code:  # on a busy machine the signal may come when it is done
            break
    stopped(ended, words)


def test_an_impatient_user(large: Programs) -> None:
    """The second Ctrl-C stops at once, and leaves nothing more behind."""
    words = ["vhdx-img", "convert", "child.vhdx", "copy.vhd"]
    ended = interrupted(large, *words, times=2)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert large.bench.names() == ["base.vhdx", "child.vhdx"]
    large.inspect("check", "child.vhdx", "--chain")


def test_what_force_was_to_replace_is_there_after_a_stop(large: Programs) -> None:
    (large.here / "copy.vhd").write_bytes(b"precious")
    words = ["vhdx-img", "convert", "child.vhdx", "copy.vhd", "--force"]
    stopped(interrupted(large, *words), words)
    assert (large.here / "copy.vhd").read_bytes() == b"precious"
    assert large.bench.names() == ["base.vhdx", "child.vhdx", "copy.vhd"]
