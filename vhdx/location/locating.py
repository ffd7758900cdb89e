"""From a location to the files that hold it."""

import os
import posixpath
import re
from typing import TYPE_CHECKING

from vhdx.errors import Error
from vhdx.location import registry
from vhdx.location.local import parse_path
from vhdx.location.transport import Address, Place, TransportMeans
from vhdx.storage.credentials import Credentials

if TYPE_CHECKING:
    from vhdx.storage.smb import SmbPool

Location = str | os.PathLike[str]
"""A path of this machine, ``smb://[[domain;]user@]server[:port]/share/path`` or ``\\\\server\\share\\path``."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def parse(location: Location) -> Address:
    """What a location says, without looking whether there is anything. Raises Error."""
    text = os.fspath(location)
    if not isinstance(text, str):
        raise TypeError("a location is a str or a path of str, not bytes")
    if not text:
        raise Error("an empty location names no file")
    transport = registry.transport_of(text)
    if transport is not None:
        return transport.parse(text)
    scheme = _SCHEME.match(text)
    if scheme is not None:
        forms = " or ".join(known.form for known in registry.TRANSPORTS)
        raise Error(
            f"{scheme[1]}:// is not a kind of location; give a path or {forms} (a relative path that looks like a URL "
            f"begins with ./)"
        )
    return parse_path(text)


def shown(location: Location) -> str:
    """A location as messages name it: absolute, and without a user. Raises Error."""
    address = parse(location)
    return address.text(address.path)


def sibling(location: Location, other: Location) -> str:
    """The path of *other* in the file system of *location*. Raises Error unless they are in one directory."""
    address, beside = parse(location), parse(other)
    if _directory(address) != _directory(beside):
        raise Error(f"{shown(location)} and {shown(other)} are not in one directory, as image and parent have to be")
    return beside.path


def _directory(address: Address) -> tuple[object, str]:
    return address.home, posixpath.dirname(address.path)


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

    Raises Error for a bad location or credentials in the wrong place, FileNotFoundError where the share does
    not exist, PermissionError for a wrong account, ConnectionError.
    """
    return parse(location).reach(TransportMeans(auth, pool, encrypt))
