"""The marks by which a file is known for what it is, without reading more of it."""

from typing import NamedTuple

from vhdx.format.identifier import IDENTIFIER, SIGNATURE
from vhdx.format.vhd_footer import COOKIE, OLD_SIZE, POISON, SIZE
from vhdx.image.base import ImageFormat
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread, preads

VHD_MARKS = (COOKIE, POISON)


class Ends(NamedTuple):
    """Both ends of a file of *size* bytes, read in one call: what tells its format, and what opening it begins with.

    *head* is the first 520 bytes, *tail* the last 512; shorter in a shorter file.
    """

    size: int
    head: bytes
    tail: bytes

    @property
    def start(self) -> bytes:
        """The first 512 bytes."""
        return self.head[:SIZE]

    @property
    def is_vhdx(self) -> bool:
        """Whether the file carries the signature of the format."""
        return self.head.startswith(SIGNATURE)

    @property
    def is_vhd(self) -> bool:
        """Whether the file carries the cookie of a footer, at its end or at its start."""
        return any(data.startswith(VHD_MARKS) for data in (self.head, self.tail, self.tail[SIZE - OLD_SIZE :]))


def ends(storage: Storage) -> Ends:
    """Both ends of the file."""
    size = storage.size()
    length = min(size, SIZE)
    head, tail = preads(storage, [(0, min(size, IDENTIFIER.size)), (size - length, length)])
    return Ends(size, head, tail)


def is_vhdx(storage: Storage) -> bool:
    """Whether the file carries the signature of the format."""
    start = min(storage.size(), len(SIGNATURE))
    return pread(storage, 0, start) == SIGNATURE


def is_vhd(storage: Storage) -> bool:
    """Whether the file carries the cookie of a footer, at its end or at its start."""
    return ends(storage).is_vhd


def carries(storage: Storage, format: ImageFormat) -> bool:
    """Whether the file carries the marks of *format*, whatever else it carries. Raw has none."""
    match format:
        case ImageFormat.VHDX:
            return is_vhdx(storage)
        case ImageFormat.VHD:
            return is_vhd(storage)
        case ImageFormat.RAW:
            return False
