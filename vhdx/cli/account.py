"""Credentials for shares: a credentials file as for smbclient, Kerberos, or a prompt; never an argument."""

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vhdx.errors import Error
from vhdx.location import ShareAddress
from vhdx.storage.credentials import Credentials

AUTH_FILE_VARIABLE = "VHDX_SMB_AUTH_FILE"
_KEYS = ("username", "password", "domain")
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Account:
    """The credential options of a command; credentials are obtained when a share is first used."""

    auth_file: str | None = None
    kerberos: bool = False
    user: str | None = None

    def credentials(self, address: ShareAddress) -> Credentials:
        """Credentials for one share. Raises Error when there are none, OSError when the file cannot be read."""
        if self.kerberos:
            return Credentials(address.user, "", address.domain, kerberos=True)
        named = self.auth_file or os.environ.get(AUTH_FILE_VARIABLE)
        if named:
            return read_auth_file(named)
        return _ask(address)


def read_auth_file(name: str) -> Credentials:
    """Read a file with lines ``username = NAME``, ``password = WORD``, ``domain = NAME``.

    Raises OSError when it cannot be read, Error for other content or a world-readable file. Messages never contain the
    file's content.
    """
    path = Path(name).expanduser()
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        content = file.read(_LONGEST + 1)
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        raise Error(f"{path}: the file is world-readable and may contain a password; run chmod 600 first")
    try:
        lines = content.decode().splitlines() if len(content) <= _LONGEST else None
    except UnicodeDecodeError:
        lines = None
    if lines is None:
        raise Error(f"{path}: not a credentials file: lines must be username = NAME, password = WORD or domain = NAME")
    values = _values(lines, str(path))
    if "username" not in values:
        raise Error(f"{path}: has no username line")
    return Credentials(values["username"], values.get("password", ""), values.get("domain", ""))


def _values(lines: list[str], name: str) -> Mapping[str, str]:
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        key, sign, value = line.partition("=")
        key = key.strip().lower()
        if not sign or key not in _KEYS:
            raise Error(f"{name}: line {number} must be a username =, password = or domain = line")
        values[key] = value.lstrip()  # a password may end in a space
    return values


def _ask(address: ShareAddress) -> Credentials:
    place = address.text(address.path)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Error(
            f"{place}: no credentials for the share: use --auth-file FILE, {AUTH_FILE_VARIABLE} or "
            f"--kerberos"
        )
    import click  # noqa: PLC0415

    from vhdx.cli.plain import escaped  # noqa: PLC0415

    server = escaped(address.server)
    user = address.user or click.prompt(f"User for {server}", err=True)
    question = f"Password for {escaped(user)} on {server}"
    password = click.prompt(question, hide_input=True, err=True, default="", show_default=False)
    return Credentials(user, password, address.domain)
