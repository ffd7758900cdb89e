"""Whether payload is nothing but zeros."""

from vhdx.extents import Extent
from vhdx.image.base import Readable

_PIECE = 1 << 20


def is_zeros(image: Readable, extent: Extent) -> bool:
    """Read *extent*, DATA of *image*, until something else than a zero is found."""
    assert extent.file_offset is not None
    zeros = bytes(min(_PIECE, extent.length))
    buffer = bytearray(len(zeros))
    for at in range(0, extent.length, _PIECE):
        length = min(_PIECE, extent.length - at)
        image.storage.read([(extent.file_offset + at, memoryview(buffer)[:length])])
        if buffer[:length] != zeros[:length]:
            return False
    return True
