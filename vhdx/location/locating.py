"""Parses and opens locations."""

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
"""A local path, ``smb://[[domain;]user@]server[:port]/share/path`` or ``\\\\server\\share\\path``."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def parse(location: Location) -> Address:
    """Parse a location; accesses no file. Raises Error."""
    text = os.fspath(location)
    if not isinstance(text, str):
        raise TypeError("a location must be a str or os.PathLike[str], not bytes")
    if not text:
        raise Error("the location is empty")
    transport = registry.transport_of(text)
    if transport is not None:
        return transport.parse(text)
    scheme = _SCHEME.match(text)
    if scheme is not None:
        forms = " or ".join(known.form for known in registry.TRANSPORTS)
        raise Error(
            f"{scheme[1]}:// is not a supported scheme; give a path or {forms} (prefix a relative path that looks like "
            f"a URL with ./)"
        )
    return parse_path(text)


def shown(location: Location) -> str:
    """A location for messages: absolute and without the user name. Raises Error."""
    address = parse(location)
    return address.text(address.path)


def sibling(location: Location, other: Location) -> str:
    """The path of *other* in the file system of *location*. Raises Error unless both are in the same directory."""
    address, beside = parse(location), parse(other)
    if _directory(address) != _directory(beside):
        raise Error(f"{shown(location)} and {shown(other)}: image and parent must be in the same directory")
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
    """The file system of a location and the path in it; connects to a share.

    *auth* is required for a share and invalid otherwise. Without *pool*, the place owns its connection. SMB messages
    are signed; with *encrypt*, or if the share requires it, encrypted.

    Raises Error for an invalid location or misplaced credentials, FileNotFoundError if the share does not exist,
    PermissionError if the log-on fails, ConnectionError.
    """
    return parse(location).reach(TransportMeans(auth, pool, encrypt))
