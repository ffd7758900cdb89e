"""Resolves locations, which are paths, ``smb://`` URLs or UNC paths, to a file system and a path in it.

This package selects the transport, so its users need not. smbprotocol is imported on first use of a share. A location
contains no password: it is passed in `Credentials`, and the error for a URL with one does not repeat it.
"""

from vhdx.location.local import LocalAddress
from vhdx.location.locating import Location, locate, parse, shown, sibling
from vhdx.location.shares import ShareAddress, new_pool
from vhdx.location.transport import Address, Place

__all__ = [
    "Address",
    "LocalAddress",
    "Location",
    "Place",
    "ShareAddress",
    "locate",
    "new_pool",
    "parse",
    "shown",
    "sibling",
]
