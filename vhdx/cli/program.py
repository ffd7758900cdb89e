"""Runs a command: imports subcommands on demand, and reports every failure in one line."""

import os
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click
from click.utils import PacifyFlushWrapper

from vhdx.cli.exits import Exit, Stop, exit_code, reason
from vhdx.cli.hints import offered
from vhdx.cli.plain import escaped

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_DEBUG_VARIABLE = "VHDX_DEBUG"
_STDOUT = 1


class Program(click.Group):
    """A group whose subcommands are attributes ``command`` of modules, imported on demand."""

    def __init__(self, name: str, text: str, modules: Mapping[str, str]) -> None:
        version = click.version_option(package_name="vhdx", message="%(prog)s %(version)s")
        super().__init__(name, help=text, context_settings=CONTEXT, no_args_is_help=False)
        self.params.append(debug_option())
        self._modules = modules
        version(self)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in definition order."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand *cmd_name*, or None."""
        if cmd_name not in self._modules:
            return None
        command = import_module(self._modules[cmd_name]).command
        assert isinstance(command, click.Command)
        return command


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
        if code == Exit.DONE:
            code, text = _ending(error, program.name or "")
            if text:
                print(f"{program.name}: {text}", file=sys.stderr)  # noqa: T201
        # Otherwise the interpreter would try to flush again at exit, and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    sys.exit(code)


def _provide_streams() -> None:
    """Replace closed standard streams, and escape characters that the terminal's encoding lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  it lives as long as the process
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
            traceback.print_exception(error)
        if text:
            print(f"{name}: {text}", file=sys.stderr)  # noqa: T201
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
    code, text = exit_code(error), reason(error, options)
    if code is None:
        kind = type(error).__name__
        return Exit.BUG, f"{kind}: {text}; this is a bug in {name}: please report it with the output of --debug"
    return code, text


def _help_of(error: click.UsageError, name: str) -> str:
    return f"{error.ctx.command_path if error.ctx is not None else name} --help"
