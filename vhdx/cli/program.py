"""Runs a command: imports subcommands on demand, and reports every failure in one line."""

import os
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import click
from click.utils import PacifyFlushWrapper

from vhdx.cli.exits import Exit, Stop, exit_code, reason
from vhdx.cli.front import front_page
from vhdx.cli.hints import offered
from vhdx.cli.plain import escaped
from vhdx.cli.summaries import ABOUT, CODES, LISTS, meant
from vhdx.version import VERSION

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_DEBUG_VARIABLE = "VHDX_DEBUG"
_STDOUT, _STDERR = 1, 2


class Program(click.Group):
    """A group whose subcommands are attributes ``command`` of modules in *package*, imported on demand."""

    def __init__(self, name: str, package: str) -> None:
        version = click.version_option(VERSION, message="%(prog)s %(version)s")
        super().__init__(name, help=ABOUT[name], epilog=CODES, context_settings=CONTEXT, no_args_is_help=False)
        self.params.append(debug_option())
        self._package = package
        self._summaries = LISTS[name]
        version(self)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help if there are no arguments, which is a usage error."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand named by *args*. Raises UsageError with a suggestion for an unknown one."""
        word = args[0]
        if word not in self._summaries and not word.startswith("-") and not ctx.resilient_parsing:
            name = meant(word)
            raise click.UsageError(f"No such command {word!r}.{f' Did you mean {name}?' if name else ''}", ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in definition order."""
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand *cmd_name*, or None."""
        if cmd_name not in self._summaries:
            return None
        command = import_module(f"{self._package}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002
        """The front page."""
        return front_page(self.name or "").rstrip("\n")


def debug_option() -> click.Option:
    """The ``--debug`` option of every command."""
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=_debug, help="Print the traceback on failure."
    )


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value:
        ctx.find_root().ensure_object(dict)["debug"] = True


def note_options() -> None:
    """Keep the options of the running command for its error message: its context no longer exists then."""
    context = click.get_current_context()
    context.find_root().ensure_object(dict)["options"] = offered(context.command)


def run(program: click.Group, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run *program* with the arguments of the process, and exit."""
    _provide_streams()
    state: dict[str, Any] = {"debug": bool(os.environ.get(_DEBUG_VARIABLE))}
    code = _run(program, arguments, state)
    try:
        sys.stdout.flush()
    except OSError as error:
        if code == Exit.DONE or isinstance(error, BrokenPipeError):
            code, text = _ending(error, program.name or "")
            code = _say(program.name or "", text, code)
        # Otherwise the interpreter would try to flush again at exit, and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    sys.exit(code)


def _provide_streams() -> None:
    """Replace closed standard streams, and escape characters that the terminal's encoding lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115  it lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(program: click.Group, arguments: Sequence[str] | None, state: dict[str, Any]) -> int:
    name = program.name or ""
    try:
        result = program.main(arguments, prog_name=name, standalone_mode=False, obj=state)
        return result if isinstance(result, int) else Exit.DONE
    except SystemExit as error:
        # Click raises it for a closed pipe, and after shell completion.
        return Exit.PIPE if type(sys.stdout) is PacifyFlushWrapper else int(error.code or 0)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  nobody is to be left with a traceback
        code, text = _ending(error, name, state.get("options", ()))
        if code is not Exit.USAGE and not isinstance(error, Stop) and state.get("debug"):
            import traceback  # noqa: PLC0415

            traceback.print_exception(error)
        return _say(name, text, code)


def _say(name: str, text: str, code: int) -> int:
    """Print *text* on stderr, if any. Returns *code*, or that of a closed pipe."""
    if not text:
        return code
    try:
        print(f"{name}: {text}", file=sys.stderr, flush=True)  # noqa: T201
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)
        return Exit.PIPE if isinstance(error, BrokenPipeError) else code
    return code


def _ending(error: BaseException, name: str, options: Collection[str] = ()) -> tuple[int, str]:
    """The exit code and message for the exception that ended a command."""
    match error:
        case click.UsageError():
            return Exit.USAGE, f"{escaped(error.format_message())} (see {_help_of(error, name)})"
        case Stop():
            return error.code, error.message
        case KeyboardInterrupt() | click.Abort():
            return Exit.INTERRUPTED, "stopped"
        case BrokenPipeError(filename=None):
            return Exit.PIPE, ""
        case _:
            pass
    code, text = exit_code(error), reason(error, options)
    if code is None:
        kind = type(error).__name__
        return Exit.BUG, f"{kind}: {text}; this is a bug in {name}: please report it with the output of --debug"
    return code, text


def _help_of(error: click.UsageError, name: str) -> str:
    return f"{error.ctx.command_path if error.ctx is not None else name} --help"
