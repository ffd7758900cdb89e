"""The commands, run as a user runs them, each in a process of its own, and what has to hold of every run.

Of every run: no traceback, no bug, nothing that steers a terminal, one line on stderr for a failure and none for an
answer. Of ``vhdx-inspect``: every file in the directory is as it was.
"""

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from typing import Any

from tests.cli.bench import Bench
from tests.cli.ready import ready, serves
from vhdx.cli.plain import SCHEMA

SCRIPTS = Path(sysconfig.get_path("scripts"))
SECONDS = 60
_ROOT = Path(__file__).parent.parent.parent
_ANSWERS = {("vhdx-inspect", "check"): (2, 3), ("vhdx-inspect", "compare"): (1,)}
"""Exit codes that are the result of a command, which is on stdout, and no failure of it."""


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        """What ``--json`` printed, without the version of the schema, which every object has."""
        value = loads(self.raw)
        if isinstance(value, dict):
            assert next(iter(value)) == "schema"
            assert value.pop("schema") == SCHEMA
        return value

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Programs:
    """Both commands in the directory *here*, with an environment of nothing but the necessary."""

    here: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", os.defpath)])
        home = str(self.here)
        return {"PATH": path, "HOME": home, "LC_ALL": "C.UTF-8", "COLUMNS": "80", "TERM": "xterm"} | self.more

    @property
    def outside(self) -> dict[str, str]:
        """The same for the installed scripts, so that they run what is tested here, wherever it was installed from."""
        return {"PYTHONPATH": str(_ROOT)} | self.environment

    @property
    def bench(self) -> Bench:
        """The images in that directory, without the commands."""
        return Bench(self.here)

    def inspect(self, *arguments: str | Path, code: int | Collection[int] = 0, **options: Any) -> Ended:
        """Run ``vhdx-inspect``, which has to end with *code*, or one of them, and to write nothing."""
        before = state_of(self.here)
        ended = self.run("vhdx-inspect", *arguments, code=code, **options)
        assert state_of(self.here) == before, "vhdx-inspect wrote"
        return ended

    def img(self, *arguments: str | Path, code: int = 0, **options: Any) -> Ended:
        """Run ``vhdx-img``, which has to end with *code*."""
        return self.run("vhdx-img", *arguments, code=code, **options)

    def refused(self, *arguments: str | Path, code: int = 4, **options: Any) -> str:
        """Run ``vhdx-img``, which has to end with *code* and change nothing; what it said."""
        before = state_of(self.here)
        ended = self.run("vhdx-img", *arguments, code=code, **options)
        assert state_of(self.here) == before, "refused, and yet something was written"
        assert not ended.raw
        return ended.err

    def run(
        self,
        program: str,
        *arguments: str | Path,
        code: int | Collection[int] = 0,
        stdin: bytes = b"",
        binary: bool = False,
        before: Sequence[str] = (),
        prepare: Callable[[], object] | None = None,
        warns: bool = False,
        progress: bool = False,
    ) -> Ended:
        """Run a program; *before* is what runs its installed script, *prepare* is called in its process.

        One that *warns* has an answer and writes lines on stderr that begin with ``warning: `` or ``note: ``;
        with *progress* the lines on stderr say how far it is.
        """
        words = [program, *map(str, arguments)]
        if before or prepare or not serves(self.environment):
            done = subprocess.run(
                [*before, str(SCRIPTS / program), *words[1:]],
                cwd=self.here,
                env=self.outside,
                input=stdin,
                capture_output=True,
                timeout=SECONDS,
                check=False,
                preexec_fn=prepare,
            )
        else:
            done = ready().run(words, self.here, self.environment, stdin, SECONDS)
        ended = Ended(done.returncode, done.stdout, done.stderr.decode())
        told = f"$ {' '.join(words)!r}\n{'' if binary else ended.out}{ended.err}"
        assert ended.code in ((code,) if isinstance(code, int) else code), f"{told}ended with {ended.code}"
        if progress:
            assert all(re.fullmatch(rf"{words[1]}: \d+ % of .*", line) for line in ended.err.splitlines()), told
            return ended
        hold(ended, words, told, binary=binary, warns=warns)
        return ended


def hold(
    ended: Ended, words: Sequence[str], told: str = "", *, binary: bool = False, warns: bool = False
) -> None:
    """What has to hold of every run."""
    assert ended.code != 70, f"a bug: {told}"
    assert "Traceback" not in ended.err or "--debug" in words, told
    assert binary or harmless(ended.out), f"control characters on stdout: {ended.raw!r}"
    assert harmless(ended.err), f"control characters on stderr: {ended.err!r}"
    if "--debug" in words:
        return
    answer = any(words[: len(key)] == list(key) and ended.code in codes for key, codes in _ANSWERS.items())
    if ended.code == 0 or answer:
        assert bool(ended.err) == warns, told
        assert all(line.startswith(("warning: ", "note: ")) for line in ended.err.splitlines()), told
    else:
        assert re.fullmatch(rf"{words[0]}: [^\n]+\n", ended.err), f"not one line: {ended.err!r}"


def harmless(text: str) -> bool:
    """Whether nothing in *text* could steer a terminal."""
    return all(one.isprintable() for one in text.split("\n"))


def state_of(directory: Path) -> Mapping[str, tuple[int, int, int]]:
    """What changes when a file in *directory* is written to, for every file."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        if path.is_file():
            found[str(path)] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def interpreter(*arguments: str, environment: Mapping[str, str]) -> str:
    """What this Python prints with these arguments."""
    done = subprocess.run(
        [sys.executable, *arguments], env=dict(environment), capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return done.stdout
