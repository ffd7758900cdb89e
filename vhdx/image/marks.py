"""The marks by which a file is known for what it is, without reading more of it."""

from vhdx.format.identifier import SIGNATURE
from vhdx.format.vhd_footer import COOKIE, OLD_SIZE, POISON, SIZE
from vhdx.image.base import ImageFormat
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread, preads

VHD_MARKS = (COOKIE, POISON)


def is_vhdx(storage: Storage) -> bool:
    """Whether the file carries the signature of the format."""
    start = min(storage.size(), len(SIGNATURE))
    return pread(storage, 0, start) == SIGNATURE


def is_vhd(storage: Storage) -> bool:
    """Whether the file carries the cookie of a footer, at its end or at its start."""
    start, tail = ends(storage)
    return any(data.startswith(VHD_MARKS) for data in (start, tail, tail[SIZE - OLD_SIZE :]))


def carries(storage: Storage, format: ImageFormat) -> bool:
    """Whether the file carries the marks of *format*, whatever else it carries. Raw has none."""
    match format:
        case ImageFormat.VHDX:
            return is_vhdx(storage)
        case ImageFormat.VHD:
            return is_vhd(storage)
        case ImageFormat.RAW:
            return False


def ends(storage: Storage) -> tuple[bytes, bytes]:
    """The first 512 bytes and the last, shorter in a shorter file."""
    size = storage.size()
    length = min(size, SIZE)
    start, tail = preads(storage, [(0, length), (size - length, length)])
    return start, tail
