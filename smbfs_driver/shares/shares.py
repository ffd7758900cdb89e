r"""The list of shares: their servers, names, accounts and options.

A text file with one share per line, as for the retired WindowsSmbfsDriver::

    # comments and empty lines are ignored
    //server/share -o username=cinder,password=secret,domain=EXAMPLE
    //server/with\040a\040space -o credentials=/etc/cinder/share.credentials,seal
    \\server\third -o credentials=share.credentials,port=1445

``\040`` stands for a space in the share name. A credentials file contains the lines ``username=``, ``password=`` and
``domain=``, as for mount.cifs and smbclient; its path is relative to the list. A password with a comma must be in such
a file. A file with passwords must not be accessible to group or others.

Options, as for mount.cifs:

- ``username``, ``password``, ``domain``, ``credentials``: the account. For Kerberos, ``name@REALM`` is valid, too.
- ``sec``: ``ntlmssp`` (or ``ntlmsspi``) uses only NTLM. ``krb5`` (or ``krb5i``) uses only Kerberos: the ticket of
  *username* or the default one in the service's credential cache; with a password, a ticket is obtained. Without
  ``sec``, the mechanism is negotiated.
- ``guest``: log on as guest. The session has no keys, so nothing is signed or encrypted, and `Share.warnings` says so.
  All other sessions are signed.
- ``seal``: encrypt; ``sign`` is always on.
- ``vers``: ``3``, the default, is SMB 3.0 or newer; ``3.0``, ``3.0.2``, ``3.1.1``, ``2.1`` and ``2.0`` are only that
  dialect. SMB 1 is not supported.
- ``port``.

Options that only affect a mount are accepted and listed in `Share.ignored`. A Samba configuration file
(`smbfs_driver.shares.samba_config`) can set defaults for all shares.

Errors and reprs contain no password, nor anything that may be part of one.
"""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from smbfs_driver.shares.samba_config import NOTHING_SAID, ClientDefaults, Encryption
from smbfs_driver.shares.unc import UncName
from vhdx.errors import Error
from vhdx.storage.credentials import Credentials
from vhdx.storage.dialect import NEWEST, OLDEST_BY_DEFAULT, Dialect

SMB_PORT = 445
_MOUNT = """
    _netdev actimeo backupgid backupuid cache cifsacl closetimeo cruid dir_mode dirmode dynperm echo_interval file_mode
    forcegid forceuid gid hard iocharset mapchars mapposix max_credits mfsymlinks multichannel nobrl nocase noperm
    noposix noserverino nosharesock nounix perm resilienthandles rsize rw serverino soft uid wsize
"""
MOUNT_ONLY = frozenset(_MOUNT.split())
"""Options that only affect a mount."""
_SAME = {"user": "username", "pass": "password", "dom": "domain", "workgroup": "domain", "cred": "credentials"}
_WITH_VALUE = frozenset({"username", "password", "domain", "credentials", "port", "vers", "sec"})
_FLAGS = frozenset({"seal", "sign", "guest"})
_ACCOUNT = frozenset({"username", "password", "domain", "credentials"})
_DIALECTS = {
    "3": (Dialect.SMB_3_0, NEWEST),
    "3.0": (Dialect.SMB_3_0, Dialect.SMB_3_0),
    **dict.fromkeys(("3.02", "3.0.2"), (Dialect.SMB_3_0_2, Dialect.SMB_3_0_2)),
    **dict.fromkeys(("3.1.1", "3.11"), (Dialect.SMB_3_1_1, Dialect.SMB_3_1_1)),
    **dict.fromkeys(("2.0", "2.0.2"), (Dialect.SMB_2_0_2, Dialect.SMB_2_0_2)),
    "2.1": (Dialect.SMB_2_1, Dialect.SMB_2_1),
}
_KERBEROS = {"ntlmssp": False, "ntlmsspi": False, "krb5": True, "krb5i": True}
_REFUSED = {
    **dict.fromkeys(
        (("vers", "1.0"), ("vers", "1")),
        "SMB 1 is insecure and not supported; enable SMB 2.0.2 or newer on the server and change or remove vers",
    ),
    **dict.fromkeys(
        (("sec", name) for name in ("ntlm", "ntlmi", "ntlmv2", "ntlmv2i", "lanman")),
        "sec must be ntlmssp or krb5: authentication without NTLMSSP requires SMB 1; ntlmssp uses NTLMv2",
    ),
    ("sec", "none"): "sec=none is not supported; use guest, whose sessions are neither signed nor encrypted",
}
_LINE = re.compile(r"(?P<address>\S+)(?:\s+-o\s+(?P<options>\S.*))?")
_NAME = re.compile(r"[a-z_]{1,24}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """A share and the settings of its connection. *ignored*: the names of options without effect."""

    server: str
    share: str
    credentials: Credentials
    port: int = SMB_PORT
    encrypt: bool = False
    ignored: tuple[str, ...] = ()
    minimum: Dialect = OLDEST_BY_DEFAULT
    maximum: Dialect = NEWEST

    @property
    def unc(self) -> UncName:
        """Its UNC name, for comparison."""
        return UncName(self.server, self.share)

    @property
    def address(self) -> str:
        """``//server/share``, with literal spaces."""
        return str(self.unc)

    @property
    def mount_options(self) -> str:
        """The account as options of mount.cifs, including the password."""
        account = self.credentials
        if account.guest:
            return "guest"
        if account.kerberos:
            return f"sec=krb5,username={account.account}" if account.account else "sec=krb5"
        return f"username={account.username},password={account.password},domain={account.domain}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the operator."""
        found = []
        if self.ignored:
            found.append(f"{self.address}: options without effect: {', '.join(self.ignored)}")
        if self.credentials.guest:
            found.append(
                f"{self.address}: guest log-on, so nothing is signed or encrypted: anyone on the network path can read "
                "and modify volumes"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A parsed line of the list. *where*: file and line, for errors."""

    where: str
    server: str
    share: str
    options: Mapping[str, str] = field(repr=False)
    ignored: tuple[str, ...]


def load(path: Path, defaults: ClientDefaults = NOTHING_SAID) -> list[Share]:
    """Load a list of shares. Raises Error with file and line, OSError if a file cannot be read."""
    text, exposed = _read(path)
    entries = list(_entries(text, path))
    if exposed and any("password" in entry.options for entry in entries):
        raise _too_open(path)
    shares = [_share(entry, path.parent, defaults) for entry in entries]
    seen: set[UncName] = set()
    for entry, share in zip(entries, shares, strict=True):
        if share.unc in seen:
            raise Error(f"{entry.where}: {share.address} is listed twice")
        seen.add(share.unc)
    return shares


def _read(path: Path) -> tuple[str, bool]:
    """The text of a file, and whether users other than its owner can access it."""
    with path.open("rb") as file:
        exposed = bool(os.fstat(file.fileno()).st_mode & 0o077)
        content = file.read()
    try:
        return content.decode(), exposed
    except UnicodeDecodeError as error:
        # The message of the UnicodeDecodeError would contain the bytes.
        raise Error(f"{path}: not valid UTF-8 (byte {error.start})") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are neither empty nor comments, numbered from 1."""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _too_open(path: Path) -> Error:
    command = f"chmod 600 {shlex.quote(str(path))}"
    return Error(f"{path}: contains passwords, but is accessible to users other than its owner; run: {command}")


def _entries(text: str, path: Path) -> Iterator[_Entry]:
    for number, line in _lines(text):
        where = f"{path}, line {number}"
        parts = _LINE.fullmatch(line)
        unc = UncName.parse(parts["address"]) if parts else None
        if parts is None or unc is None:
            raise Error(f"{where}: invalid line; syntax: //server/share [-o option,...], with \\040 for a space")
        options, ignored = _options(parts["options"] or "", where)
        yield _Entry(where, unc.server, unc.share, options, ignored)


def _options(text: str, where: str) -> tuple[dict[str, str], tuple[str, ...]]:
    options: dict[str, str] = {}
    ignored: list[str] = []
    for item in text.split(",") if text else []:
        key, equals, value = item.partition("=")
        key = _SAME.get(key.strip(), key.strip())
        if key in MOUNT_ONLY:
            ignored.append(key)
        elif key not in (_WITH_VALUE if equals else _FLAGS):
            raise Error(f"{where}: {_unknown(key, after_password='password' in options)}")
        elif key in options:
            raise Error(f"{where}: duplicate option {key}")
        else:
            options[key] = value
    return options, tuple(ignored)


def _unknown(key: str, *, after_password: bool) -> str:
    if after_password:
        return (
            "unknown option after password= (not shown, because it may be part of the password; put a password with a "
            "comma into a file and use credentials=FILE)"
        )
    if key in _WITH_VALUE | _FLAGS:
        return f"the option {key} {'requires a' if key in _WITH_VALUE else 'takes no'} value"
    # The key may be credentials in the notation of another tool, so it is shown only if it looks like an option.
    return f"unknown option {key}" if _NAME.fullmatch(key) else "unknown option"


def _share(entry: _Entry, directory: Path, defaults: ClientDefaults) -> Share:
    options = entry.options
    for (name, value), explanation in _REFUSED.items():
        if options.get(name) == value:
            raise Error(f"{entry.where}: {explanation}")
    port = options.get("port", str(SMB_PORT))
    if not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 1 << 16:
        raise Error(f"{entry.where}: invalid port: must be a number from 1 to 65535")
    minimum, maximum = _dialects(entry, defaults)
    return Share(
        entry.server,
        entry.share,
        _guest(entry, defaults) if "guest" in options else _credentials(entry, directory, defaults),
        int(port),
        _encrypts(entry, defaults, maximum),
        entry.ignored,
        minimum,
        maximum,
    )


def _choice(entry: _Entry, name: str, choices: Mapping[str, T]) -> T | None:
    value = entry.options.get(name)
    if value is not None and value not in choices:
        raise Error(f"{entry.where}: invalid {name}: must be one of {', '.join(choices)}")
    return None if value is None else choices[value]


def _dialects(entry: _Entry, defaults: ClientDefaults) -> tuple[Dialect, Dialect]:
    unsaid = (defaults.minimum, defaults.maximum)
    return _choice(entry, "vers", {**_DIALECTS, "default": unsaid}) or unsaid


def _encrypts(entry: _Entry, defaults: ClientDefaults, maximum: Dialect) -> bool:
    """Whether to encrypt. Raises Error if encryption is required but not possible."""
    asked = "seal" if "seal" in entry.options else ""
    if not asked and defaults.encryption is Encryption.REQUIRED:
        asked = f"client smb encrypt in {defaults.source}"
    if asked and "guest" in entry.options:
        raise Error(f"{entry.where}: guest and {asked} are mutually exclusive: a guest session has no encryption key")
    if asked and not maximum.encrypts:
        raise Error(
            f"{entry.where}: {asked} requires SMB 3.0 or newer, but the maximum is SMB {maximum.label}; allow a newer "
            "dialect, or do not require encryption"
        )
    desired = defaults.encryption is Encryption.DESIRED and maximum.encrypts and "guest" not in entry.options
    return bool(asked) or desired


def _guest(entry: _Entry, defaults: ClientDefaults) -> Credentials:
    """Guest credentials. Raises Error for conflicting options."""
    for name in ("sign", "sec", *sorted(_ACCOUNT)):
        if name in entry.options:
            reason = "a guest session has no signing key" if name == "sign" else "a guest has no account"
            raise Error(f"{entry.where}: guest and {name} are mutually exclusive: {reason}; remove one of them")
    if defaults.must_sign:
        raise Error(
            f"{entry.where}: a guest session has no signing key, but client signing in {defaults.source} requires it"
        )
    return Credentials.of_guest()


def _credentials(entry: _Entry, directory: Path, defaults: ClientDefaults) -> Credentials:
    found: Mapping[str, str] = entry.options
    if "credentials" in entry.options:
        if found.keys() & (_ACCOUNT - {"credentials"}):
            raise Error(f"{entry.where}: credentials= and username=, password= or domain= are mutually exclusive")
        found = _credentials_file(directory / entry.options["credentials"])
    said = _choice(entry, "sec", _KERBEROS)
    kerberos = defaults.kerberos if said is None else said
    username, password = found.get("username", ""), found.get("password", "")
    if kerberos:
        return _ticket(entry, username, password, found.get("domain", defaults.realm))
    if not username or "password" not in found:
        raise Error(
            f"{entry.where}: username and password, or credentials=FILE with both, are required "
            "(or sec=krb5 with an existing ticket)"
        )
    domain = found.get("domain", "" if "@" in username or "\\" in username else defaults.domain)
    return Credentials(username, password, domain, kerberos)


def _ticket(entry: _Entry, username: str, password: str, realm: str) -> Credentials:
    """Kerberos credentials; without a username, the ticket in the credential cache."""
    if password and not username:
        raise Error(f"{entry.where}: password without username; add the username or remove the password")
    if username and realm and "@" not in username:
        username = f"{username}@{realm}"
    return Credentials(username, password, kerberos=True)


def _credentials_file(path: Path) -> dict[str, str]:
    text, exposed = _read(path)
    if exposed:
        raise _too_open(path)
    found: dict[str, str] = {}
    for number, line in _lines(text):
        key, equals, value = line.partition("=")
        key = _SAME.get(key.strip(), key.strip())
        if not equals or key not in ("username", "password", "domain") or key in found:
            # The line is not shown, because it may contain part of a password.
            raise Error(f"{path}, line {number}: expected username=, password= or domain=, each at most once")
        found[key] = value.strip()
    return found
