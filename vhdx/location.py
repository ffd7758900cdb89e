"""From where a disk is said to be to the files that hold it: a path, an ``smb://`` URL or a UNC path.

This module names the transports, so whatever builds on it needs no choice of its own; smbprotocol is imported when a
share is first asked for. A password is in no location: it comes as `Credentials`, and a URL with one is refused by a
message that does not repeat it.
"""

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote

from vhdx.errors import Error
from vhdx.storage.base import FileSystem
from vhdx.storage.credentials import Credentials
from vhdx.storage.local import LocalFileSystem

if TYPE_CHECKING:
    from vhdx.storage.smb import SmbPool
    from vhdx.storage.smb.settings import SmbSettings

Location = str | os.PathLike[str]
"""A path of this machine, ``smb://[[domain;]user@]server[:port]/share/path`` or ``\\\\server\\share\\path``."""

SMB_PORT = 445

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOST_SLASH = re.compile(r"smb:(?!//)", re.IGNORECASE)
_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>[0-9]{1,5}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORM = "smb://[[domain;]user@]server[:port]/share/path"


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """A file of this machine; *path* is absolute."""

    path: str

    @property
    def directory(self) -> str:
        return posixpath.dirname(self.path)

    def text(self, path: str) -> str:
        """The location of another path on this machine."""
        return path


@dataclass(frozen=True, slots=True)
class ShareAddress:
    """A file on a share; *path* has ``/`` between names and is not escaped. *user* and *domain* may be empty."""

    server: str
    share: str
    path: str
    port: int = SMB_PORT
    user: str = ""
    domain: str = ""

    @property
    def directory(self) -> tuple[str, int, str, str]:
        """Equal for two addresses in one directory."""
        return (self.server.casefold(), self.port, self.share.casefold(), posixpath.dirname(self.path))

    def text(self, path: str) -> str:
        """The location of another path on this share, as a URL without the user."""
        host = f"[{self.server}]" if ":" in self.server else self.server
        port = "" if self.port == SMB_PORT else f":{self.port}"
        return f"smb://{host}{port}/{quote(self.share)}/{quote(path)}"


Address = LocalAddress | ShareAddress


@dataclass(frozen=True, slots=True)
class Place:
    """A file system and a path in it; *pool* is there when the connections close with the place."""

    address: Address
    files: FileSystem
    path: str
    pool: "SmbPool | None" = None

    def close(self) -> None:
        """End the connections that were made for this place. Closing twice is fine."""
        if self.pool is not None:
            self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse(location: Location) -> Address:
    """What a location says, without looking whether there is anything. Raises Error."""
    text = os.fspath(location)
    if not isinstance(text, str):
        raise TypeError("a location is a str or a path of str, not bytes")
    if not text:
        raise Error("an empty location names no file")
    if text.startswith("\\\\"):
        return _parse_unc(text)
    if _LOST_SLASH.match(text):
        raise Error(f"a URL of a share reads {_FORM}, with two slashes; pathlib drops one, so give it as a str")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return LocalAddress(_absolute(text))
    if scheme[1].lower() != "smb":
        raise Error(
            f"{scheme[1]}:// is not a kind of location; give a path or {_FORM} (a relative path that looks like a URL "
            f"begins with ./)"
        )
    return _parse_url(text[scheme.end() :])


def shown(location: Location) -> str:
    """A location as messages name it: absolute, and without a user. Raises Error."""
    address = parse(location)
    return address.text(address.path)


def sibling(location: Location, other: Location) -> str:
    """The path of *other* in the file system of *location*. Raises Error unless they are in one directory."""
    address, beside = parse(location), parse(other)
    if address.directory != beside.directory:
        raise Error(f"{shown(location)} and {shown(other)} are not in one directory, as image and parent have to be")
    return beside.path


def locate(
    location: Location,
    *,
    auth: Credentials | None = None,
    pool: "SmbPool | None" = None,
    encrypt: bool = False,
) -> Place:
    """The file system of a location and the path in it; a share is connected to.

    *auth* is for shares, which need it, and for nothing else. Without *pool* the place owns its connection. What goes
    to and from a share is signed, and with *encrypt*, or where the share demands it, encrypted.

    Raises Error for a bad location or credentials in the wrong place, FileNotFoundError for a share that is not there,
    PermissionError for a wrong account, ConnectionError.
    """
    address = parse(location)
    if isinstance(address, LocalAddress):
        if auth is not None:
            raise Error(f"{address.path}: a file of this machine; credentials are for smb:// URLs and UNC paths")
        # What the file system says of free space is that of the file's own directory.
        return Place(address, LocalFileSystem(address.directory), address.path)
    credentials = _credentials(address, auth)
    connections = new_pool() if pool is None else pool
    try:
        files = connections.share(
            address.server,
            address.share,
            port=address.port,
            credentials=credentials,
            settings=_settings(encrypt=encrypt),
        )
    except BaseException:
        if pool is None:
            connections.close()
        raise
    return Place(address, files, address.path, connections if pool is None else None)


def _absolute(path: str) -> str:
    if "\0" in path:
        raise Error(f"{path!r}: no file can have this name, it contains a NUL")
    place = Path(path).absolute()
    # Paths are compared by their letters further in, and a .. behind a symbolic link leads elsewhere than it reads.
    return str(Path(os.path.realpath(place.parent), place.name) if ".." in place.parts else place)


def _parse_unc(text: str) -> ShareAddress:
    server, _, place = text[2:].replace("\\", "/").partition("/")
    share, _, path = place.partition("/")
    if server in {"?", "."}:
        raise Error(f"{text!r}: a device path of Windows; give \\\\server\\share\\path or {_FORM}")
    if not _HOST_PORT.fullmatch(server) or ":" in server:
        raise Error(f"a UNC path without the name of a server; give \\\\server\\share\\path or {_FORM}")
    return _on_share(ShareAddress(server, share, path), text)


def _parse_url(rest: str) -> ShareAddress:
    """The address behind ``smb://``. What may be a part of a password is in no message."""
    authority, _, place = rest.partition("/")
    account, _, host = authority.rpartition("@")
    if ":" in account:
        raise Error(f"a location must not hold a password; write {_FORM} and give the password apart from it")
    found = _HOST_PORT.fullmatch(host)
    share, _, path = place.partition("/")
    # An @ in place of the share's name may be the one behind a password that has a slash in it.
    if found is None or "@" in share or _CONTROL.search(rest):
        raise Error(f"not a URL of a share; it reads {_FORM}, with %40 for an @ in a name, and without a password")
    domain, _, user = account.rpartition(";")
    address = ShareAddress(
        server=found["six"] or found["name"],
        share=_unescape(share),
        path="/".join(map(_unescape, path.split("/"))),
        port=int(found["port"] or SMB_PORT),
        user=_unescape(user),
        domain=_unescape(domain),
    )
    return _on_share(address, address.text(address.path))


def _unescape(name: str) -> str:
    if any(mark in name for mark in "?#") or _BAD_ESCAPE.search(name):
        raise Error(f"{name!r}: in the URL of a share ? # and % are written as %3F %23 %25")
    try:
        plain = unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise Error(f"{name!r}: what % stands for in the URL of a share is UTF-8") from None
    if "/" in plain:
        raise Error(f"{name!r}: no name on a share can hold a /")
    return plain


def _on_share(address: ShareAddress, text: str) -> ShareAddress:
    if not address.share:
        raise Error(f"{text}: names a server and no share; a location reads {_FORM}")
    if not address.path:
        raise Error(f"{text}: names a share and no file on it; a location reads {_FORM}")
    if address.path.endswith("/"):
        raise Error(f"{text}: names a directory, and a location names a file")
    if not 0 < address.port < 1 << 16:
        raise Error(f"{text}: there is no port {address.port}")
    return address


def _credentials(address: ShareAddress, auth: Credentials | None) -> Credentials:
    name = address.text(address.path)
    if auth is None:
        raise Error(f"{name}: on a share, which needs credentials; pass auth=Credentials(user, password)")
    if auth.kerberos and not auth.username:
        return auth
    asked = (address.user.casefold(), address.domain.casefold())
    given = (auth.username.casefold(), auth.domain.casefold())
    if any(wanted not in ("", have) for wanted, have in zip(asked, given, strict=True)):
        raise Error(f"{name}: the URL asks for another account than that of the credentials")
    return auth


def _settings(*, encrypt: bool) -> "SmbSettings":
    from vhdx.storage.smb.settings import SmbSettings  # noqa: PLC0415

    return SmbSettings(encrypt=encrypt)


def new_pool() -> "SmbPool":
    """Connections for several places. Raises ModuleNotFoundError where the library for shares is not installed."""
    try:
        from vhdx.storage.smb import SmbPool  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"shares need {error.name}: install this package with its extra, vhdx[smb]", name=error.name
        ) from error
    return SmbPool()
