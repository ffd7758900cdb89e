"""What is known of a server by trying: its limits for copychunk, and which shares lack an operation."""

from typing import NamedTuple

_MIB = 1 << 20


class CopyLimits(NamedTuple):
    """Limits of one FSCTL_SRV_COPYCHUNK_WRITE request (MS-SMB2 3.3.3)."""

    chunks: int = 256
    chunk_bytes: int = _MIB
    total_bytes: int = 16 * _MIB


class Learned:
    """Kept for as long as a connection; the dialect says nothing of it."""

    def __init__(self) -> None:
        self.limits = CopyLimits()
        self.without_copy: set[tuple[str, str]] = set()
        self.without_zero: set[str] = set()
