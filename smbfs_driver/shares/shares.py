r"""The list of shares: which servers and shares there are, and how to log on to them.

A text file, one share a line, as for the retired WindowsSmbfsDriver::

    # comments and empty lines are skipped
    //server/share -o username=cinder,password=secret,domain=EXAMPLE
    //server/with\040a\040space -o credentials=/etc/cinder/share.credentials,seal
    \\server\third -o credentials=share.credentials,port=1445

``\040`` is a space in the name of a share. A credentials file holds lines ``username=``, ``password=`` and
``domain=``, as mount.cifs and smbclient read them; its path is relative to the list. A password with a comma can only
stand there. A file that holds passwords and that its group or others can read is refused.

Options, as people know them from mount.cifs:

- ``username``, ``password``, ``domain``, ``credentials``: who logs on. For Kerberos a name may be ``name@REALM``.
- ``sec``: ``ntlmssp`` (or ``ntlmsspi``) takes NTLM and nothing else. ``krb5`` (or ``krb5i``) takes a Kerberos ticket
  and nothing else: that of the service's credential cache, or of *username* in it; no account is needed then, and
  with a password a ticket is fetched. Without ``sec``, what both sides know.
- ``guest``: logs on as nobody in particular. Such a session has no key: nothing is signed or encrypted, and
  `Share.warnings` says so. Nothing else makes a session that is not signed.
- ``seal`` encrypts; ``sign`` is always on.
- ``vers``: ``3`` is SMB 3.0 or newer, which is spoken by default; ``3.0``, ``3.0.2``, ``3.1.1``, ``2.1`` and ``2.0``
  are that dialect and no other. SMB 1 is not spoken.
- ``port``.

Options that only concern a mount are accepted and listed in `Share.ignored`. What is not said here can be said for all
shares by a Samba configuration file (`smbfs_driver.shares.samba_config`).

Promised: no password, nor anything that could be a part of one, in errors or representations.
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
"""What only tells a mounting kernel how to show the files."""
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
        "SMB 1 is not supported: it can be tampered with, and servers have given it up; have the server "
        "speak SMB 2.0.2 or newer, and leave vers out or say which",
    ),
    **dict.fromkeys(
        (("sec", name) for name in ("ntlm", "ntlmi", "ntlmv2", "ntlmv2i", "lanman")),
        "sec can be ntlmssp or krb5 here: the bare hashes of old can only be used with SMB 1; ntlmssp is NTLMv2",
    ),
    ("sec", "none"): "sec=none is a log-on as nobody in particular; write guest for it, which says what it gives up",
}
_LINE = re.compile(r"(?P<address>\S+)(?:\s+-o\s+(?P<options>\S.*))?")
_NAME = re.compile(r"[a-z_]{1,24}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """One share and how to log on to it. *ignored* are the names of options that do nothing here."""

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
        """Its name, to be compared with others."""
        return UncName(self.server, self.share)

    @property
    def address(self) -> str:
        """As in the list, spaces as spaces: ``//server/share``."""
        return str(self.unc)

    @property
    def mount_options(self) -> str:
        """How somebody else would log on, in the words of mount.cifs: it holds the password."""
        account = self.credentials
        if account.guest:
            return "guest"
        if account.kerberos:
            return f"sec=krb5,username={account.account}" if account.account else "sec=krb5"
        return f"username={account.username},password={account.password},domain={account.domain}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know, a sentence each."""
        found = []
        if self.ignored:
            found.append(f"{self.address}: options without a meaning here: {', '.join(self.ignored)}")
        if self.credentials.guest:
            found.append(
                f"{self.address}: logs on as a guest, so nothing is signed or encrypted: whoever is in between can "
                "read and change volumes"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the list, taken apart. *where* names file and line in errors."""

    where: str
    server: str
    share: str
    options: Mapping[str, str] = field(repr=False)
    ignored: tuple[str, ...]


def load(path: Path, defaults: ClientDefaults = NOTHING_SAID) -> list[Share]:
    """The shares of a list. Raises Error naming file and line, OSError where a file cannot be read."""
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
    """The text of a file, and whether others than its owner can read or change it."""
    with path.open("rb") as file:
        exposed = bool(os.fstat(file.fileno()).st_mode & 0o077)
        content = file.read()
    try:
        return content.decode(), exposed
    except UnicodeDecodeError as error:
        # Its own message would quote the bytes.
        raise Error(f"{path}: not a text in UTF-8 (byte {error.start})") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, numbered from 1."""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _too_open(path: Path) -> Error:
    command = f"chmod 600 {shlex.quote(str(path))}"
    return Error(f"{path}: holds passwords, but others than its owner can read or change it; run: {command}")


def _entries(text: str, path: Path) -> Iterator[_Entry]:
    for number, line in _lines(text):
        where = f"{path}, line {number}"
        parts = _LINE.fullmatch(line)
        unc = UncName.parse(parts["address"]) if parts else None
        if parts is None or unc is None:
            raise Error(f"{where}: not of the form //server/share [-o option,...] (\\040 stands for a space)")
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
            raise Error(f"{where}: the option {key} is there twice")
        else:
            options[key] = value
    return options, tuple(ignored)


def _unknown(key: str, *, after_password: bool) -> str:
    if after_password:
        return (
            "something after password= is not an option that is known here (not shown: it may belong to the password; "
            "a password with a comma goes into a file named by credentials=)"
        )
    if key in _WITH_VALUE | _FLAGS:
        return f"the option {key} {'needs a' if key in _WITH_VALUE else 'takes no'} value"
    # A log-on in another tool's notation may stand where an option should; only what looks like one is shown.
    return f"the option {key} is not known here" if _NAME.fullmatch(key) else "one of the options is not known here"


def _share(entry: _Entry, directory: Path, defaults: ClientDefaults) -> Share:
    options = entry.options
    for (name, value), explanation in _REFUSED.items():
        if options.get(name) == value:
            raise Error(f"{entry.where}: {explanation}")
    port = options.get("port", str(SMB_PORT))
    if not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 1 << 16:
        raise Error(f"{entry.where}: the port is not a number from 1 to 65535")
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
        raise Error(f"{entry.where}: {name} can only be one of {', '.join(choices)} here")
    return None if value is None else choices[value]


def _dialects(entry: _Entry, defaults: ClientDefaults) -> tuple[Dialect, Dialect]:
    unsaid = (defaults.minimum, defaults.maximum)
    return _choice(entry, "vers", {**_DIALECTS, "default": unsaid}) or unsaid


def _encrypts(entry: _Entry, defaults: ClientDefaults, maximum: Dialect) -> bool:
    """Whether to encrypt. Raises Error where that is asked for and cannot be."""
    asked = "seal" if "seal" in entry.options else ""
    if not asked and defaults.encryption is Encryption.REQUIRED:
        asked = f"client smb encrypt in {defaults.source}"
    if asked and "guest" in entry.options:
        raise Error(f"{entry.where}: guest and {asked} exclude each other: a guest has no key to encrypt with")
    if asked and not maximum.encrypts:
        raise Error(
            f"{entry.where}: {asked} needs SMB 3.0 or newer, and SMB {maximum.label} is the newest that is allowed "
            "here; allow a newer one, or do without encryption"
        )
    desired = defaults.encryption is Encryption.DESIRED and maximum.encrypts and "guest" not in entry.options
    return bool(asked) or desired


def _guest(entry: _Entry, defaults: ClientDefaults) -> Credentials:
    """Nobody in particular. Raises Error beside options that say otherwise."""
    for name in ("sign", "sec", *sorted(_ACCOUNT)):
        if name in entry.options:
            reason = "a guest has no key to sign with" if name == "sign" else "a guest has no account"
            raise Error(f"{entry.where}: guest and {name} exclude each other: {reason}; leave one of them out")
    if defaults.must_sign:
        raise Error(f"{entry.where}: a guest has no key to sign with, and client signing in {defaults.source} wants it")
    return Credentials.of_guest()


def _credentials(entry: _Entry, directory: Path, defaults: ClientDefaults) -> Credentials:
    found: Mapping[str, str] = entry.options
    if "credentials" in entry.options:
        if found.keys() & (_ACCOUNT - {"credentials"}):
            raise Error(f"{entry.where}: credentials= and username=, password= or domain= exclude each other")
        found = _credentials_file(directory / entry.options["credentials"])
    said = _choice(entry, "sec", _KERBEROS)
    kerberos = defaults.kerberos if said is None else said
    username, password = found.get("username", ""), found.get("password", "")
    if kerberos:
        return _ticket(entry, username, password, found.get("domain", defaults.realm))
    if not username or "password" not in found:
        raise Error(
            f"{entry.where}: a username and a password, or credentials=FILE that has both, are needed "
            "(sec=krb5 takes the ticket that is there)"
        )
    domain = found.get("domain", "" if "@" in username or "\\" in username else defaults.domain)
    return Credentials(username, password, domain, kerberos)


def _ticket(entry: _Entry, username: str, password: str, realm: str) -> Credentials:
    """Who logs on by Kerberos: with nobody named, the holder of the ticket that is there."""
    if password and not username:
        raise Error(f"{entry.where}: a password without a username; name who it is of, or leave it out")
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
            # What stands there may be half a password.
            raise Error(f"{path}, line {number}: one each of username=, password= and domain= is expected")
        found[key] = value.strip()
    return found
