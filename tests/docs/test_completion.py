"""Tab completes, in bash as the guide sets it up, and in zsh and fish where they are installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "commands.md").read_text()
BIN = Path(sys.executable).parent

_BASH = """\
COMP_WORDS=({words} '{last}')
COMP_CWORD={place}
function=$(complete -p {program} | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
compopt() {{ OPTIONS="$*"; }}
$function {program}
printf '%s\\n' "${{COMPREPLY[@]}}" "$OPTIONS"
"""


def blocks() -> list[str]:
    """What the guide says for bash, zsh and fish, in this order."""
    chapter = GUIDE.partition("## Shell completion\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)


def shell(program: str, script: str, directory: Path) -> list[str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} not found")
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [program, "-c", script],
        cwd=directory,
        env={"PATH": path, "HOME": str(directory), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not done.stderr
    return [line for line in done.stdout.splitlines() if line]


def in_bash(line: str, directory: Path) -> list[str]:
    """What bash is told when Tab is pressed at the end of *line*."""
    *words, last = line.split(" ")
    asked = _BASH.format(words=" ".join(words), last=last, place=len(words), program=words[0])
    return shell("bash", blocks()[0] + asked, directory)


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("vhdx-inspect in", ["info"]),
        ("vhdx-inspect c", ["chain", "check", "compare"]),
        ("vhdx-img re", ["relink", "resize", "replay", "repair"]),
        ("vhdx-inspect info --j", ["--json"]),
        ("vhdx-img convert -O ", ["vhdx", "vhd", "raw"]),
        ("vhdx-img convert a.raw b.vhd --az", ["--azure"]),
    ],
)
def test_bash(line: str, completions: list[str], tmp_path: Path) -> None:
    assert in_bash(line, tmp_path) == completions


@pytest.mark.parametrize("line", ["vhdx-inspect info we", "vhdx-img create a.vhdx -b we", "vhdx-img convert w"])
def test_bash_completes_names_of_files(line: str, tmp_path: Path) -> None:
    (tmp_path / "web.vhdx").touch()
    assert in_bash(line, tmp_path) == ["-o", "default"]


def test_fish(tmp_path: Path) -> None:
    (tmp_path / ".config" / "fish" / "completions").mkdir(parents=True)
    (tmp_path / "web.vhdx").touch()
    shell("bash", blocks()[2], tmp_path)
    assert [line.split()[0] for line in shell("fish", 'complete -C "vhdx-img rel"', tmp_path)] == ["relink"]
    assert [line.split()[0] for line in shell("fish", 'complete -C "vhdx-inspect info --js"', tmp_path)] == ["--json"]


def test_zsh(tmp_path: Path) -> None:
    (tmp_path / ".zshrc").write_text(f"autoload -Uz compinit && compinit -u\n{blocks()[1]}")
    registered = shell("zsh", "source ~/.zshrc; print $_comps[vhdx-inspect] $_comps[vhdx-img]", tmp_path)
    assert registered == ["_vhdx_inspect_completion _vhdx_img_completion"]
