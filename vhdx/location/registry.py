"""The transports that locations can name. Another one is a module beside these and a name in this tuple."""

from vhdx.location.shares import SHARES
from vhdx.location.transport import Transport

TRANSPORTS: tuple[Transport, ...] = (SHARES,)
"""Files of this machine are not among them: their paths are what no transport claims."""


def transport_of(text: str) -> Transport | None:
    """The transport that a location names; None for a path of this machine, or what no transport knows."""
    return next((transport for transport in TRANSPORTS if transport.claims(text)), None)
