"""Writes the reference pages: docs/commands/*.md and the manual pages docs/man/*.1 from what --help says,
docs/operator/options.md from the driver, docs/modules.md from what every module says of itself, docs/virtdisk.md from
the table of the answers of virtdisk.dll.

Run it after a change of any option, help text or module: ``python docs/generate.py``. A test fails while a page is out
of date.
"""

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from vhdx.cli.exits import MEANINGS, exit_codes
from vhdx.cli.img import program as img
from vhdx.cli.inspect import program as inspect
from vhdx.cli.program import CONTEXT
from vhdx.version import VERSION
from vhdx.virtdisk.codes import DISK_CODES, SYSTEM_CODES, Code

ROOT = Path(__file__).parent.parent
PACKAGES = ROOT / "vhdx", ROOT / "smbfs_driver"
PLACE = Path(__file__).parent / "commands"
MAN = Path(__file__).parent / "man"
MODULES_PAGE = Path(__file__).parent / "modules.md"
CODES_PAGE = Path(__file__).parent / "virtdisk.md"
OPTIONS_PAGE = Path(__file__).parent / "operator" / "options.md"
_WIDTH = 120
_MARKS = re.compile(r"([\\*<`])")
_USUAL = exit_codes(MEANINGS)
_ENVIRONMENT = {
    "VHDX_SMB_AUTH_FILE": "The file with the account for shares.",
    "VHDX_DEBUG": "Anything but empty: print the traceback of a failure.",
    "NO_COLOR": "Set to anything: no colour.",
}
_ALL = "Options of all commands"
_NOTE = "<!-- Written by docs/generate.py from the help of the command. Change that, and run it again. -->"


def pages() -> dict[Path, str]:
    """The text of every page of a command."""
    return {PLACE / f"{program.name}.md": page(program) for program in (inspect, img)}


def man_pages() -> dict[Path, str]:
    """The text of every manual page, which a wheel installs."""
    return {MAN / f"{program.name}.1": man_page(program) for program in (inspect, img)}


def man_page(program: click.Group) -> str:
    """The manual page of one program, in the man macros of troff."""
    name = program.name or ""
    contexts = _contexts(program)
    records = [list(_records(context)) for context in contexts]
    common = [record for record in records[0] if all(record in other for other in records)]
    first, *rest = _paragraphs(program.help)
    summary = first.partition(". ")[0].rstrip(".")
    lines = [
        '.\\" Written by docs/generate.py from the help of the command.',
        f'.TH {name.upper()} 1 "" "vhdx {VERSION}" "User Commands"',
        ".SH NAME",
        f"{_troff(name)} \\- {_troff(summary[:1].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f".B {_troff(name)}",
        _troff("COMMAND [OPTIONS] [ARGS]..."),
        ".SH DESCRIPTION",
        _troff(first),
        *(line for paragraph in rest for line in (".PP", _troff(paragraph))),
        ".SH OPTIONS",
        *_man_options(_records(contexts[0].parent or contexts[0])),
        ".SH COMMANDS",
    ]
    for context, own in zip(contexts, records, strict=True):
        usage = " ".join(context.command.collect_usage_pieces(context))
        lines.append(f".SS {_troff(f'{context.info_name} {usage}')}")
        first, *rest = _paragraphs(context.command.help)
        lines += [_troff(first), *(line for paragraph in rest for line in (".PP", _troff(paragraph)))]
        lines += _man_options(record for record in own if record not in common)
        if context.command.epilog != _USUAL:
            lines += [".PP", _troff(context.command.epilog or "")]
    lines += [".SH OPTIONS OF ALL COMMANDS", *_man_options(common)]
    lines += [".SH EXIT STATUS", _troff(program.epilog or "")]
    lines += [".SH ENVIRONMENT"]
    for variable, text in _ENVIRONMENT.items():
        lines += [".TP", f".B {variable}", text]
    other = next(one.name for one in (inspect, img) if one is not program)
    lines += [".SH SEE ALSO", f".BR {_troff(other or '')} (1),", ".BR qemu\\-img (1)"]
    return "\n".join(lines) + "\n"


def _man_options(records: Iterable[tuple[str, str]]) -> Iterator[str]:
    for names, text in records:
        yield from (".TP", f".B {_troff(names)}", _troff(text))


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", (text or "").strip())]


def _troff(text: str) -> str:
    """Text on one line, as it is to be read: nothing in it is a request, and hyphens can be copied."""
    line = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _contexts(program: click.Group) -> list[click.Context]:
    top = click.Context(program, info_name=program.name, help_option_names=CONTEXT["help_option_names"])
    commands = {one: program.get_command(top, one) for one in program.list_commands(top)}
    return [click.Context(command, top, one) for one, command in commands.items() if command is not None]


def modules_page() -> str:
    """The table of all modules, folder by folder, each with the first sentence of its text."""
    head = [
        "# Modules",
        "<!-- Written by docs/generate.py from the modules. Change those, and run it again. -->",
        "Every module and what it is. [architecture.md](architecture.md) tells how they go together.",
    ]
    chapters = [*map(_folded, head)]
    for folder in sorted({path.parent for root in PACKAGES for path in root.rglob("*.py")}):
        rows = [
            f"| `{path.name}` | {_first_sentence(path)} |"
            for path in sorted(folder.glob("*.py"))
            if path.name != "__init__.py"
        ]
        if rows:
            chapters.append(f"## `{folder.relative_to(ROOT).as_posix()}/`")
            chapters.append("\n".join(["| module | |", "|---|---|", *rows]))
    return "\n\n".join(chapters) + "\n"


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "`")


def options_page() -> str:
    """The table of the driver's options."""
    from smbfs_driver.options import OPTIONS  # noqa: PLC0415  oslo.config is not needed for the other pages

    rows = [f"| `{one.name}` | {_default(one)} | {_cell(one)} |" for one in OPTIONS]
    head = [
        "# Options of the driver",
        "<!-- Written by docs/generate.py from smbfs_driver/options.py. Change that, and run it again. -->",
        "For the section of a backend in cinder.conf. `volume_backend_name`, `nas_volume_prov_type`, "
        "`max_over_subscription_ratio` and `reserved_percentage` are Cinder's own; [the guide](guide.md) says how they "
        "matter here.",
    ]
    table = "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])
    return "\n\n".join([*map(_folded, head), table]) + "\n"


def _default(option: Any) -> str:
    return "unset" if option.default in (None, {}) else f"`{option.default}`"


def _cell(option: Any) -> str:
    choices = getattr(option.type, "choices", None) or {}
    told = [f"`{name}`: {text}" for name, text in choices.items() if text]
    return " ".join([_plain(option.help), *told])


def codes_page() -> str:
    """The tables of the answers of virtdisk.dll."""
    head = [
        "# Answers of virtdisk.dll",
        "<!-- Written by docs/generate.py from vhdx/virtdisk/codes.py. Change that, and run it again. -->",
        "What the functions of Windows for virtual disks answer, which error each answer becomes, and what to do. The "
        "numbers and names are Microsoft's; messages show both. `vhdx/virtdisk/` calls these functions, on Windows "
        "only, and no command uses it yet. It has never run on Windows: layouts, numbers and prototypes are compared "
        "with Microsoft's metadata, calls are tried on a stand-in for the library under Wine.",
        "Kinds with a capital of their own, such as `WouldLoseData`, are errors of this package: the bytes or the "
        "request are wrong. Those that end in `Error`, but for `Error` and `FormatError`, are Python's: the transport "
        "failed.",
    ]
    parts = [*map(_folded, head), "## Virtual disks", _codes(DISK_CODES), "## Windows", _codes(SYSTEM_CODES)]
    return "\n\n".join(parts) + "\n"


def _codes(table: Mapping[int, Code]) -> str:
    rows = (
        f"| `{f'0x{code:08X}' if code > 0xFFFF else code}` | `{one.name}` | `{one.kind.__name__}` | "
        f"{f'{one.structure}: ' * bool(one.structure)}{one.meaning} | {one.remedy} |"
        for code, one in table.items()
    )
    return "\n".join(["| code | name | kind | meaning | what to do |", "|---|---|---|---|---|", *rows])


def page(program: click.Group) -> str:
    """The page of one program: its help, its commands, and the options that all of them take."""
    name = program.name or ""
    contexts = _contexts(program)
    top = contexts[0].parent
    assert top is not None
    records = [list(_records(context)) for context in contexts]
    common = [record for record in records[0] if all(record in other for other in records)]
    parts = [f"# {name}", _NOTE, *_prose(program.help), _console(top), *_options(_records(top))]
    links = " · ".join(f"[{context.info_name}](#{context.info_name})" for context in contexts)
    parts += [*_prose(_USUAL), links, f"Every command also takes the [options of all commands]"
              f"(#{_ALL.lower().replace(' ', '-')}). What holds for all of them, from locations to exit codes, is in "
              "[commands.md](../commands.md)."]
    for context, own in zip(contexts, records, strict=True):
        parts += [f"## {context.info_name}", *_prose(context.command.help), _console(context)]
        parts += _options(record for record in own if record not in common)
        if context.command.epilog != _USUAL:
            parts += _prose(context.command.epilog)
    parts += [f"## {_ALL}", *_options(common)]
    return "\n\n".join(map(_folded, parts)) + "\n"


def _records(context: click.Context) -> Iterator[tuple[str, str]]:
    """The options of one command, as --help words them."""
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            yield record


def _options(records: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"- `{names}`: {_plain(text)}" for names, text in records]
    return ["\n".join(lines)] if lines else []


def _console(context: click.Context) -> str:
    usage = " ".join(context.command.collect_usage_pieces(context))
    return f"```\n{context.command_path} {usage}\n```"


def _prose(text: str | None) -> list[str]:
    """The paragraphs of a help text."""
    return [_plain(paragraph) for paragraph in re.split(r"\n\s*\n", (text or "").strip())]


def _plain(text: str) -> str:
    """A paragraph on one line, with what Markdown would take for a mark escaped."""
    return _MARKS.sub(r"\\\1", " ".join(text.replace("\b", "").split()))


def _folded(part: str) -> str:
    if part.startswith(("```", "#", "<!--")):
        return part
    return "\n".join(
        textwrap.fill(line, _WIDTH, subsequent_indent="  " * line.startswith("- "), break_long_words=False,
                      break_on_hyphens=False)
        for line in part.splitlines()
    )


def main() -> None:
    """Write the pages that are not what they should be."""
    PLACE.mkdir(exist_ok=True)
    MAN.mkdir(exist_ok=True)
    written = {OPTIONS_PAGE: options_page(), MODULES_PAGE: modules_page(), CODES_PAGE: codes_page()}
    for path, text in {**pages(), **man_pages(), **written}.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            click.echo(f"{path}: written")


if __name__ == "__main__":
    main()
