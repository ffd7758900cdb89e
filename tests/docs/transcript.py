"""Terminal sessions in Markdown: found, run by a real shell, and held against what the page shows.

A block of ``console`` holds commands, on lines that begin with ``$``, and what they print, with ``...`` in place of
what is another each time. A comment ``<!-- setup`` holds a script that prepares what the page supposes; readers do not
see it. A page pretends to be in /srv/disks, which is a directory of the test. A command has to succeed unless the page
shows its exit code with ``echo $?`` behind it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path

PLACE = "/srv/disks"
_ROOT = Path(__file__).parent.parent.parent
_SECONDS = 120
_BLOCK = re.compile(r"^<!-- setup\n(?P<setup>.*?)^-->$|^```console\n(?P<console>.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "<end of a command>"
_STATUS = "echo $?"


@dataclass(frozen=True, slots=True)
class Step:
    """One command, or the script of a setup, whose output nobody looks at; *line* is where it is in the page."""

    line: int
    command: str
    output: str | None
    may_fail: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What a step printed, on both streams, and its exit code."""

    output: str
    code: int


def steps(text: str) -> list[Step]:
    """Everything in a page that is to be run, in its order."""
    found: list[Step] = []
    for block in _BLOCK.finditer(text):
        name = block.lastgroup or ""
        line = text.count("\n", 0, block.start(name)) + 1
        if name == "setup":
            found.append(Step(line, f"(set -e\n{block[name]})", None))
        else:
            found += _commands(block[name], line)
    return found


def _commands(block: str, line: int) -> Iterator[Step]:
    lines = block.splitlines()
    starts = [number for number, one in enumerate(lines) if one.startswith("$ ")]
    assert starts, f"line {line}: a block without a command"
    assert starts[0] == 0, f"line {line}: a block that does not begin with a command"
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        first = start + 1
        while first < end and lines[first].startswith("> "):
            first += 1
        command = "\n".join(one[2:] for one in lines[start:first])
        shown = "".join(f"{one}\n" for one in lines[first:end])
        followed = end < len(lines) and lines[end] == f"$ {_STATUS}"
        yield Step(line + start, command, shown, may_fail=followed)


def run(wanted: Sequence[Step], directory: Path, named: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """Run the steps in one shell in *directory* and tell what is not as the page shows it.

    *named* says what names in the page stand for, beside /srv/disks.
    """
    real = {**named, PLACE: str(directory)}
    script = directory.parent / "session.sh"
    script.write_text("exec 2>&1\n" + "".join(_scripted(_replaced(step.command, real)) for step in wanted))
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", str(script)],
        cwd=directory,
        env=_environment(directory, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=_SECONDS,
        check=False,
    )
    pretended = {value: name for name, value in real.items()}
    results = _results(_replaced(done.stdout.decode(errors="replace"), pretended))
    assert len(results) == len(wanted), "the shell ended early"
    return [wrong for step, result in zip(wanted, results, strict=True) if (wrong := _wrong(step, result))]


def _scripted(command: str) -> str:
    return f"{command}\n__code=$?\nprintf '\\n{_END} %d\\n' $__code\n(exit $__code)\n"


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    return text


def _environment(directory: Path, more: Mapping[str, str]) -> dict[str, str]:
    """That of a user at 80 columns, with nothing of the machine that runs the tests but its programs."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    home = directory.parent / "home"
    home.mkdir(exist_ok=True)
    own = {"PATH": path, "PYTHONPATH": str(_ROOT), "HOME": str(home)}  # the scripts run what these pages are about
    return {**own, "LC_ALL": "C.UTF-8", "COLUMNS": "80", **more}


def _results(output: str) -> list[Result]:
    pieces = re.split(rf"\n{_END} (\d+)\n", output)
    return [Result(text, int(code)) for text, code in zip(pieces[::2], pieces[1::2], strict=False)]


def _wrong(step: Step, result: Result) -> str:
    if result.code and not step.may_fail:
        return f"line {step.line}: $ {step.command}\nended with {result.code}:\n{result.output}"
    if step.output is None:
        return ""
    got = result.output if not result.output or result.output.endswith("\n") else f"{result.output}\n"
    # Whoever reads a page may not see a space at the end of a line.
    want, got = (re.sub(r" +$", "", text, flags=re.MULTILINE) for text in (step.output, got))
    if OutputChecker().check_output(want, got, ELLIPSIS):
        return ""
    return f"line {step.line}: $ {step.command}\nshown is\n{want}\nand it prints\n{got}"
