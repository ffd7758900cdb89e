"""From where a disk is said to be to the files that hold it: a path, an ``smb://`` URL or a UNC path.

This package names the transports, so whatever builds on it needs no choice of its own; smbprotocol is imported when a
share is first asked for. A password is in no location: it comes as `Credentials`, and a URL with one is refused by a
message that does not repeat it.
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
