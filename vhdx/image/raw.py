"""A raw file as an image: its bytes are the disk.

Nothing in it says so, and a guest can write any header into it; so it is opened as raw only where the caller says raw.
"""

from vhdx.errors import Error
from vhdx.image.base import Admit, DiskType, ImageFormat, ImageInfo, LogState
from vhdx.image.flat import FlatImage
from vhdx.storage import transfer
from vhdx.storage.base import Storage
from vhdx.storage.overlay import OverlayStorage

SECTOR = 512


class RawBytes:
    """Implements `Flat`: there is nothing but the bytes of the disk."""

    name = "a raw file"
    keeps_zeros = False

    def __init__(self, storage: Storage, sector_size: int) -> None:
        self._storage = storage
        self.sector_size = sector_size
        self.size = storage.size()

    @property
    def info(self) -> ImageInfo:
        """What there is to say of a file without any structure."""
        return ImageInfo(
            format=ImageFormat.RAW,
            type=DiskType.FIXED,
            virtual_size=self.size,
            block_size=None,
            logical_sector_size=self.sector_size,
            physical_sector_size=self.sector_size,
            disk_id=None,
            linkage=None,
            creator="",
            log=LogState.CLEAN,
            log_entries=0,
            parent=None,
        )

    def check_size(self, size: int) -> None:
        """Raises Error for a size that is not whole sectors."""
        if size <= 0 or size % self.sector_size:
            raise Error(f"{self._storage.name}: a disk of {size} bytes is not whole sectors of {self.sector_size}")

    def resize(self, size: int) -> None:
        """Set the length of the file; a crash before the next flush may leave the old one."""
        self._storage.truncate(size)
        self.size = size


def open_raw(storage: Storage, *, sector_size: int = SECTOR, admit: Admit | None = None) -> FlatImage:
    """The disk that a raw file is; read only, one that ends within a sector is filled up with zeros.

    *admit* is told what there is to say of it; what it raises is raised.

    The image owns the storage from here on. Raises Error for a file without a byte, or one to be written that does not
    end with a sector; the storage is then closed.
    """
    size = storage.size()
    rest = size % sector_size
    reason = ""
    if not size:
        reason = "an empty file is no disk"
    elif rest and storage.writable:
        missing = sector_size - rest
        reason = f"{size} bytes are no whole sectors of {sector_size}; lengthen the file by {missing} bytes first"
    if reason:
        storage.close()
        raise Error(f"{storage.name}: {reason}")
    whole = OverlayStorage(storage, [], size=size - rest + sector_size) if rest else storage
    image = FlatImage(whole, RawBytes(whole, sector_size))
    if admit is not None:
        try:
            admit(image.info)
        except BaseException:
            storage.close()
            raise
    return image


def create_raw(storage: Storage, *, size: int, fixed: bool = False) -> FlatImage:
    """A disk of zeros in an empty *storage*; *fixed* allocates its space. Raises Error, OutOfSpace."""
    image = FlatImage(storage, RawBytes(storage, SECTOR))
    image.resize(size)
    if fixed:
        transfer.reserve(storage, [(0, size)])
    return image
