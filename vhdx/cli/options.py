"""Options that many commands take."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from vhdx.cli.account import Account
from vhdx.cli.exits import Exit, Stop, reason
from vhdx.cli.kinds import FORMAT, directory_names, file_names
from vhdx.cli.program import CONTEXT, debug_option, note_options
from vhdx.cli.reach import Reach
from vhdx.errors import HasChildren

Function = TypeVar("Function", bound=Callable[..., Any])


def subcommand(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A subcommand: shares, parents and ``--debug`` besides its own options."""

    def made(function: Callable[..., Any]) -> click.Command:
        result = click.command(name, context_settings=CONTEXT)(_reaching(function))
        result.params.append(debug_option())
        return result

    return made


def _reaching(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hand *function* a `Reach` as its first argument, made from the options on shares and parents."""

    def called(
        *,
        auth_file: str | None,
        kerberos: bool,
        smb_encrypt: bool,
        parents_in: tuple[str, ...],
        **own: Any,  # click hands over what the decorators of *function* declare
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
    # Decorators collect parameters last first, and the command's own are to stand before those that all have.
    called.__click_params__ += getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    return called


_SHARED: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
    click.option(
        "--parents-in",
        multiple=True,
        metavar="DIR",
        shell_complete=directory_names,
        help="A directory besides the image's own in which parents may lie. Repeatable.",
    ),
    click.option(
        "--auth-file",
        metavar="FILE",
        shell_complete=file_names,
        help="The account for shares: a file with lines username=, password=, domain=, as smbclient takes it. "
        "VHDX_SMB_AUTH_FILE in the environment says the same.",
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
    help="Format of the images (default: detected); all layers of a disk are of one format.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
image_argument = click.argument("image", shell_complete=file_names)
force_option = click.option("--force", is_flag=True, help="Overwrite an existing file.")
any_size_option = click.option(
    "--any-size", is_flag=True, help="A VHD may have another size than its parent. Windows refuses to open it then."
)
replace_option = click.option("--force", is_flag=True, help="Overwrite an existing file, unless it is an image.")
orphan_option = click.option(
    "--orphan",
    is_flag=True,
    help="Go on although other images have it as their parent, or it has other names (hard links) beside which some "
    "may lie. They become unreadable.",
)
