"""Bytes sent and received, as the kernel counts them (TCP_INFO)."""

import socket
import struct
import sys
from typing import NamedTuple

_TCP_INFO = 11
_BYTES_ACKED = 120  # offset of tcpi_bytes_acked in struct tcp_info, followed by tcpi_bytes_received
_COUNTS = struct.Struct("=QQ")


class Wire(NamedTuple):
    """Bytes that TCP delivered, without TCP and IP headers."""

    sent: int
    received: int

    @property
    def total(self) -> int:
        return self.sent + self.received


def count(connection: socket.socket) -> Wire | None:
    """The bytes of one connection so far; None where the kernel does not count them."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 256)
    except OSError:
        return None
    if len(information) < _BYTES_ACKED + _COUNTS.size:
        return None
    return Wire(*_COUNTS.unpack_from(information, _BYTES_ACKED))
