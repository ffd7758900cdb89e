"""Options shared by several commands."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from vhdx.cli.account import Account
from vhdx.cli.exits import MEANINGS, Exit, Stop, exit_codes, reason
from vhdx.cli.kinds import FORMAT, directory_names, file_names
from vhdx.cli.program import CONTEXT, debug_option, note_options
from vhdx.cli.reach import Reach
from vhdx.errors import HasChildren

Function = TypeVar("Function", bound=Callable[..., Any])


def subcommand(name: str, codes: Mapping[int, str] = MEANINGS) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorator for a subcommand: adds options for shares and parents, ``--debug``, and a list of exit *codes*."""

    def made(function: Callable[..., Any]) -> click.Command:
        result = click.command(name, epilog=exit_codes(codes), context_settings=CONTEXT)(_reaching(function))
        result.params.append(debug_option())
        return result

    return made


def _reaching(function: Callable[..., Any]) -> Callable[..., Any]:
    """Pass *function* a `Reach`, created from the options for shares and parents, as its first argument."""

    def called(
        *,
        auth_file: str | None,
        kerberos: bool,
        smb_encrypt: bool,
        parents_in: tuple[str, ...],
        **own: Any,  # the parameters that the decorators of *function* declare
    ) -> Any:
        note_options()
        with Reach(Account(auth_file, kerberos), smb_encrypt, parents_in) as reach:
            try:
                return function(reach, **own)
            except HasChildren as error:
                if "orphan" not in own:
                    raise
                raise Stop(Exit.REFUSED, f"{reason(error)}; pass --orphan to proceed") from error

    called.__doc__ = function.__doc__
    for option in reversed(_SHARED):
        called = option(called)
    # Decorators collect parameters in reverse; the command's own must precede the shared ones.
    called.__click_params__ += getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    return called


_SHARED: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
    click.option(
        "--parents-in",
        multiple=True,
        metavar="DIR",
        shell_complete=directory_names,
        help="Also search for parents in DIR. Repeatable.",
    ),
    click.option(
        "--auth-file",
        metavar="FILE",
        shell_complete=file_names,
        help="Credentials file for shares, with username=, password= and domain= lines, as for smbclient. "
        "Default: $VHDX_SMB_AUTH_FILE.",
    ),
    click.option("--kerberos", is_flag=True, help="Authenticate to shares with the existing Kerberos ticket."),
    click.option("--smb-encrypt", is_flag=True, help="Require SMB encryption."),
]

format_option = click.option(
    "-f", "--format", "format_name", type=FORMAT, help="Format of the image (default: detected)."
)
layers_format_option = click.option(
    "-f",
    "--format",
    "format_name",
    type=click.Choice(["vhdx", "vhd"]),
    help="Format of the images (default: detected); all layers of a disk have the same format.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
image_argument = click.argument("image", shell_complete=file_names)
force_option = click.option("--force", is_flag=True, help="Overwrite an existing file.")
any_size_option = click.option(
    "--any-size", is_flag=True, help="Allow a VHD whose size differs from its parent's. Windows cannot open it."
)
replace_option = click.option("--force", is_flag=True, help="Overwrite an existing file, unless it is an image.")
orphan_option = click.option(
    "--orphan",
    is_flag=True,
    help="Proceed even if other images have it as their parent, or it has several hard links, in whose directories "
    "there may be more children. The children become unreadable.",
)
