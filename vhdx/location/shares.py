"""Files on SMB shares by ``smb://`` URL or UNC path. smbprotocol is imported on the first connection."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from vhdx.errors import Error
from vhdx.location.transport import Place, Transport, TransportMeans
from vhdx.storage.credentials import Credentials

if TYPE_CHECKING:
    from vhdx.storage.smb import SmbPool

SMB_PORT = 445

_UNC = "\\\\"
_SLASHES = re.compile(r"//(?!/)")
_SCHEME = re.compile(r"smb:(?P<slashes>//)?", re.IGNORECASE)
_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>[0-9]{1,5}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORM = "smb://[[domain;]user@]server[:port]/share/path"


@dataclass(frozen=True, slots=True)
class ShareAddress:
    """A file on a share; *path* is separated by ``/`` and not percent-encoded. *user* and *domain* may be empty."""

    server: str
    share: str
    path: str
    port: int = SMB_PORT
    user: str = ""
    domain: str = ""

    @property
    def home(self) -> Hashable:
        return self.server.casefold(), self.port, self.share.casefold()

    def text(self, path: str) -> str:
        """The URL of another path on this share, without the user name."""
        host = f"[{self.server}]" if ":" in self.server else self.server
        port = "" if self.port == SMB_PORT else f":{self.port}"
        return f"smb://{host}{port}/{quote(self.share)}/{quote(path)}"

    def reach(self, means: TransportMeans) -> Place:
        """Connect to the share. Without a pool, the place owns its connection.

        Raises Error for missing credentials or those of another account, FileNotFoundError if the share does not exist,
        PermissionError if the log-on fails, ConnectionError.
        """
        credentials = _credentials(self, means.auth)
        pool = new_pool() if means.pool is None else means.pool
        from vhdx.storage.smb import SmbSettings  # noqa: PLC0415  `new_pool` reports a missing library

        settings = SmbSettings(encrypt=means.encrypt)
        try:
            files = pool.share(self.server, self.share, port=self.port, credentials=credentials, settings=settings)
        except BaseException:
            if means.pool is None:
                pool.close()
            raise
        return Place(self, files, self.path, pool if means.pool is None else None)


def parse_share(text: str) -> ShareAddress:
    """Parse an ``smb://`` URL, a UNC path, or ``//server/share/path`` without escapes. Raises Error."""
    if text.startswith(_UNC):
        return _parse_unc(text)
    if _SLASHES.match(text):
        return _parse_slashes(text)
    scheme = _SCHEME.match(text)
    if scheme is None or not scheme["slashes"]:
        raise Error(f"SMB URL syntax: {_FORM}, with two slashes; pathlib removes one, so pass a str")
    return _parse_url(text[scheme.end() :])


def _parse_unc(text: str) -> ShareAddress:
    server, _, place = text[2:].replace("\\", "/").partition("/")
    share, _, path = place.partition("/")
    if server in {"?", "."}:
        raise Error(f"{text!r}: a Windows device path; give \\\\server\\share\\path or {_FORM}")
    if not _HOST_PORT.fullmatch(server) or ":" in server:
        raise Error(f"the UNC path has no valid server name; give \\\\server\\share\\path or {_FORM}")
    return _on_share(ShareAddress(server, share, path), text)


def _parse_slashes(text: str) -> ShareAddress:
    authority, _, place = text[2:].partition("/")
    if "/" not in place.strip("/"):
        # The text may hold a password.
        what = "file path" if place.strip("/") else "share"
        raise Error(f"the location has no {what}; give //server/share/path, or a single slash for a local path")
    return _parse_url(f"{authority}/{quote(place, errors='surrogateescape')}")


def _parse_url(rest: str) -> ShareAddress:
    """Parse the part after ``smb://``. Messages contain nothing that may be part of a password."""
    authority, _, place = rest.partition("/")
    account, _, host = authority.rpartition("@")
    if ":" in account:
        raise Error(f"a location must not contain a password; give {_FORM} and pass the password separately")
    found = _HOST_PORT.fullmatch(host)
    share, _, path = place.partition("/")
    # An @ in the share name may follow a password that contains a slash.
    if found is None or "@" in share or _CONTROL.search(rest):
        raise Error(f"invalid SMB URL; syntax: {_FORM}, with %40 for an @ in a name, without a password")
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
        raise Error(f"{name!r}: in an SMB URL, write ? # and % as %3F %23 %25")
    try:
        plain = unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise Error(f"{name!r}: percent-encoded bytes in an SMB URL must be UTF-8") from None
    if "/" in plain:
        raise Error(f"{name!r}: a name on a share cannot contain a /")
    return plain


def _on_share(address: ShareAddress, text: str) -> ShareAddress:
    if not address.share:
        raise Error(f"{text}: has no share; SMB URL syntax: {_FORM}")
    if not address.path:
        raise Error(f"{text}: has no file path; SMB URL syntax: {_FORM}")
    if address.path.endswith("/"):
        raise Error(f"{text}: is a directory; give the path of a file")
    if not 0 < address.port < 1 << 16:
        raise Error(f"{text}: invalid port {address.port}: must be 1 to 65535")
    return address


def _credentials(address: ShareAddress, auth: Credentials | None) -> Credentials:
    name = address.text(address.path)
    if auth is None:
        raise Error(f"{name}: a share requires credentials; pass auth=Credentials(user, password)")
    if auth.kerberos and not auth.username:
        return auth
    asked = (address.user.casefold(), address.domain.casefold())
    given = (auth.username.casefold(), auth.domain.casefold())
    if any(wanted not in ("", have) for wanted, have in zip(asked, given, strict=True)):
        raise Error(f"{name}: the account in the URL differs from that of the credentials")
    return auth


def new_pool() -> "SmbPool":
    """A connection pool for several places. Raises ModuleNotFoundError if smbprotocol is not installed."""
    try:
        from vhdx.storage.smb import SmbPool  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"shares require {error.name}: install the extra vhdx[smb]", name=error.name
        ) from error
    return SmbPool()


def _is_on_share(text: str) -> bool:
    return text.startswith(_UNC) or bool(_SLASHES.match(text) or _SCHEME.match(text))


SHARES = Transport(_FORM, _is_on_share, parse_share)
