"""Opening an image of whatever format, recognised by its content.

Bytes that are not recognised are an error, never "probably raw": a guest can write a VHDX header into a raw disk.
"""

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.image.base import Image, NewId
from vhdx.image.vhdx_open import is_vhdx, open_vhdx
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_VHD_COOKIE = b"conectix"
_FOOTER = 512


def open_image(storage: Storage, *, new_id: NewId) -> Image:
    """The image in *storage*, which it owns from here on; writable exactly when the storage is.

    Raises FormatError for unknown bytes, UnsupportedFeature; the storage is then closed.
    """
    try:
        if not is_vhdx(storage):
            size = storage.size()
            ends = {pread(storage, 0, min(size, 8)), pread(storage, max(size - _FOOTER, 0), min(size, 8))}
            if _VHD_COOKIE in ends:
                raise UnsupportedFeature(f"{storage.name}: a VHD, and only VHDX is handled yet")
            raise FormatError("file identifier", 0, "the file is not a VHDX", "2.2.1", file=storage.name)
    except BaseException:
        storage.close()
        raise
    return open_vhdx(storage, new_id=new_id)
