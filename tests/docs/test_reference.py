"""The reference pages say what the commands say: their help, their exit codes, the keys of their JSON."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import vhdx
from docs.generate import MODULES_PAGE, OPTIONS_PAGE, PACKAGES, man_pages, modules_page, options_page, pages
from vhdx.cli.account import AUTH_FILE_VARIABLE
from vhdx.cli.exits import Exit
from vhdx.cli.img import COMMANDS as CHANGING
from vhdx.cli.img import program as img
from vhdx.cli.inspect import COMMANDS as LOOKING
from vhdx.cli.inspect import program as inspect
from vhdx.cli.plain import SCHEMA

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "commands.md").read_text()
BIN = Path(sys.executable).parent
_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")


def test_the_pages_are_what_the_help_says() -> None:
    for path, text in pages().items():
        now = path.read_text() if path.exists() else ""
        assert now == text, f"{path} is out of date; run: python docs/generate.py"


def test_the_manual_pages_are_what_the_help_says() -> None:
    for path, text in man_pages().items():
        assert path.read_text() == text, f"{path} is out of date; run: python docs/generate.py"


@pytest.mark.parametrize("program", ["vhdx-inspect", "vhdx-img"])
def test_a_manual_page_can_be_read(program: str) -> None:
    """By the formatter of man, without a complaint, and every command, option and exit code is on it."""
    if shutil.which("groff") is None:
        pytest.skip("groff not found")
    page = next(path for path in man_pages() if path.stem == program)
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", page], capture_output=True, text=True, timeout=60, check=True
    )
    assert not done.stderr
    words = done.stdout.replace("\N{HYPHEN}", "-").replace("\N{MINUS SIGN}", "-")
    names = {"vhdx-inspect": LOOKING, "vhdx-img": CHANGING}[program]
    assert all(re.search(rf"^   {name} \[OPTIONS\]", words, re.MULTILINE) for name in names)
    for option in set(re.findall(r"--[a-z-]+", (ROOT / "docs" / "commands" / f"{program}.md").read_text())):
        assert option in words
    assert "141 nobody reads the output." in " ".join(words.split())
    assert "\\\\host\\share\\path" in words


def test_a_wheel_installs_them() -> None:
    """By what the build is told: each page is there, and in the place where man looks below the prefix."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["shared-data"] == {"docs/man": "share/man/man1"}
    assert {path.name for path in (ROOT / "docs" / "man").iterdir()} == {path.name for path in man_pages()}


def test_the_table_of_options_is_what_the_driver_has() -> None:
    pytest.importorskip("oslo_config", reason="oslo.config is not installed")
    assert OPTIONS_PAGE.read_text() == options_page(), "it is out of date; run: python docs/generate.py"


def test_every_module_is_told() -> None:
    assert MODULES_PAGE.read_text() == modules_page(), "it is out of date; run: python docs/generate.py"
    rows = re.findall(r"^\| `(\w+\.py)` \| (.+) \|$", MODULES_PAGE.read_text(), re.MULTILINE)
    modules = [path for root in PACKAGES for path in root.rglob("*.py") if path.name != "__init__.py"]
    assert len(rows) == len(modules)
    assert [row for row in rows if not row[1].strip().endswith(".")] == []


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PLANNED = {
    "vhdx/nbd/",
    "vhdx/verbs/virtdisk.py",
    "vhdx/storage/http/",
    "vhdx/location/http.py",
    "vhdx/format/qcow2.py",
    "vhdx/image/qcow2.py",
}
"""What the page names as places for things that are not there."""


def test_every_path_of_the_architecture_is_there() -> None:
    named = set(re.findall(r"`((?:vhdx|smbfs_driver|tests)/[\w/]*(?:\.py|/))`", ARCHITECTURE)) - PLANNED
    assert len(named) > 30
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_command_has_a_chapter() -> None:
    for (path, text), names in zip(pages().items(), (LOOKING, CHANGING), strict=True):
        chapters = re.findall(r"^## (\S+)$", text, re.MULTILINE)
        assert chapters == list(names), path.name


def section(heading: str) -> str:
    """What stands under a heading of the guide, up to the next one."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#|\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[2]


def rows(text: str) -> list[str]:
    """The first cells of its tables."""
    return [row.strip() for row in re.findall(r"^\|([^|]*)\|", text, re.MULTILINE)]


def test_every_exit_code_is_told() -> None:
    told = [int(row) for row in rows(section("Exit codes")) if row.isdigit()]
    assert told == [code.value for code in Exit]


def test_every_variable_is_told() -> None:
    told = rows(section("Environment"))
    sources = "".join(path.read_text() for path in (ROOT / "vhdx" / "cli").rglob("*.py"))
    for name in [AUTH_FILE_VARIABLE, *re.findall(r'"((?:VHDX_[A-Z_]+)|NO_COLOR)"', sources)]:
        assert f"`{name}`" in told


def test_every_link_leads_somewhere() -> None:
    for page in [ROOT / "docs" / "commands.md", *pages(), *(ROOT / "docs" / "howto").glob("*.md")]:
        for file, anchor in _LINK.findall(page.read_text()):
            target = page.parent / file if file else page
            assert target.exists(), f"{page.name}: {file}"
            if not anchor:
                continue
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {one.lower().replace(" ", "-") for one in headings}, f"{page.name}: {anchor}"


def told_keys(command: str) -> set[str]:
    return {row.strip("`").removesuffix("[]") for row in rows(section(command)) if row.startswith("`")}


def printed_keys(value: Any, place: str = "") -> Iterator[str]:
    """Every key in a document, by the names that the guide gives them; what is recorded under any key is one."""
    match value:
        case dict() if not place.endswith(".paths"):
            for key, inside in value.items():
                yield from printed_keys(inside, f"{place}.{key}" if place else key)
        case [dict(), *_]:
            for one in value:
                yield from printed_keys(one, f"{place}[]")
        case _:
            yield place


def run_json(directory: Path, *arguments: str, code: int = 0) -> Any:
    done = subprocess.run(
        [BIN / arguments[0], *arguments[1:], "--json"], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    value = json.loads(done.stdout)
    if isinstance(value, dict):
        assert f'"schema": {value.pop("schema")}`' in section("JSON")
    return value


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A chain of three in which something is wrong, and a disk with a damaged header."""
    vhdx.create(tmp_path / "base.vhdx", 16 << 20)
    vhdx.create(tmp_path / "child.vhdx", parent=tmp_path / "base.vhdx")
    with vhdx.open(tmp_path / "child.vhdx", writable=True) as disk:
        disk.write(4096, b"other")
    vhdx.create(tmp_path / "grandchild.vhdx", parent=tmp_path / "child.vhdx")
    vhdx.create(tmp_path / "hurt.vhdx", 16 << 20)
    with (tmp_path / "hurt.vhdx").open("r+b") as file:
        file.seek(64 << 10)
        file.write(bytes(4096))
    return tmp_path


def test_info_and_chain(images: Path) -> None:
    info = set(printed_keys(run_json(images, "vhdx-inspect", "info", "child.vhdx")))
    assert info == told_keys("info") - {"parent"}
    chain = set(printed_keys(run_json(images, "vhdx-inspect", "chain", "child.vhdx")))
    assert chain == {f"layers[].{key}" for key in told_keys("info")} | told_keys("chain")


@pytest.mark.parametrize(
    ("command", "arguments", "code"),
    [
        ("map", ["child.vhdx"], 0),
        ("check", ["hurt.vhdx"], 3),
        ("hash", ["child.vhdx"], 0),
        ("compare", ["base.vhdx", "child.vhdx"], 1),
        ("merge", ["child.vhdx", "--dry-run"], 0),
        ("compact", ["base.vhdx"], 0),
        ("repair", ["hurt.vhdx"], 0),
        ("create", ["new.vhdx", "1M"], 0),
        ("create", ["over.vhdx", "-b", "base.vhdx"], 0),
        ("relink", ["child.vhdx", "base.vhdx"], 0),
        ("resize", ["hurt.vhdx", "32M"], 0),
        ("replay", ["base.vhdx"], 0),
        ("write", ["hurt.vhdx", "0"], 0),
        ("report", ["base.vhdx", "-o", "page.html"], 0),
    ],
)
def test_the_keys_of(images: Path, command: str, arguments: list[str], code: int) -> None:
    program = "vhdx-inspect" if command in LOOKING else "vhdx-img"
    printed = run_json(images, program, command, *arguments, code=code)
    assert set(printed_keys(printed)) == told_keys(command)


def test_the_keys_of_convert(images: Path) -> None:
    """With something lost and something noted, so that nothing is empty; an ordinary convert has no salvage."""
    told = told_keys("convert")
    plain = run_json(images, "vhdx-img", "convert", "base.vhdx", "copy.vhdx")
    assert set(printed_keys(plain)) == {key for key in told if not key.startswith("salvage.")}
    with (images / "child.vhdx").open("r+b") as file:
        file.truncate((images / "child.vhdx").stat().st_size - 4096)
    (images / "hurt.vhdx").replace(images / "base.vhdx")
    printed = run_json(
        images, "vhdx-img", "convert", "--salvage", "--without-parent", "child.vhdx", "saved.vhdx", code=8
    )
    assert set(printed_keys(printed)) == told - {"salvage"}


def test_the_keys_of_dump(images: Path) -> None:
    printed = set(printed_keys(run_json(images, "vhdx-inspect", "dump", "hurt.vhdx", code=2)))
    findings = {f"[].{key}" for key in told_keys("check") if key.startswith("findings[].")}
    # Of some structures there is nothing to list, of most there is.
    assert printed | {"[].fields", "[].findings"} == told_keys("dump") | findings


def test_one_version_of_the_schema_is_told() -> None:
    """That which is printed."""
    assert re.findall(r"schema (\d+)|\"schema\": (\d+)", GUIDE) == [(f"{SCHEMA}", ""), ("", f"{SCHEMA}")]


def test_every_command_that_tells_something_has_json() -> None:
    """All but `read`, whose answer is bytes; and the keys of each are told."""
    for program in (inspect, img):
        context = click.Context(program)
        for name in program.list_commands(context):
            command = program.get_command(context, name)
            assert command is not None
            assert any("--json" in one.opts for one in command.params) == (name != "read"), name
            assert name == "read" or told_keys(name), name


