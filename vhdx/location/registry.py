"""The transports of locations. To add one, add a module to this package and its `Transport` to `TRANSPORTS`."""

from vhdx.location.shares import SHARES
from vhdx.location.transport import Transport

TRANSPORTS: tuple[Transport, ...] = (SHARES,)
"""Without local files: a location that no transport claims is a local path."""


def transport_of(text: str) -> Transport | None:
    """The transport that claims a location; None for a local path or an unknown scheme."""
    return next((transport for transport in TRANSPORTS if transport.claims(text)), None)
