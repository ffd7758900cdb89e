"""A fixed VHD: the bytes of the disk, and behind them one footer (VHD 1.0)."""

from vhdx.errors import Error, OutOfSpace
from vhdx.format import vhd_footer
from vhdx.format.vhd_bat import SECTOR
from vhdx.format.vhd_footer import LARGEST_AZURE, LARGEST_DISK, SIZE, Footer
from vhdx.image.base import DiskType, ImageInfo
from vhdx.image.flat import FlatImage
from vhdx.image.vhd.describing import describe
from vhdx.image.vhd.resizing import resized, size_fault
from vhdx.storage import transfer
from vhdx.storage.base import Storage


class FooterBehind:
    """Implements `Flat`: a footer behind the disk says how large it is."""

    name = "a fixed image"
    keeps_zeros = True
    sector_size = SECTOR

    def __init__(self, storage: Storage, footer: Footer, warnings: tuple[str, ...]) -> None:
        self._storage = storage
        self._footer = footer
        self._warnings = warnings

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return self._footer.current_size

    @property
    def info(self) -> ImageInfo:
        """What the footer says."""
        return describe(self._footer, DiskType.FIXED, warnings=self._warnings)

    def check_size(self, size: int) -> None:
        """Raises Error for a size that a VHD cannot have."""
        # Larger than Windows takes is what was made for Azure, and it stays so.
        largest = LARGEST_AZURE if self.size > LARGEST_DISK else LARGEST_DISK
        reason = size_fault(size, None, largest=largest)
        if reason:
            raise Error(f"{self._storage.name}: {reason}")

    def resize(self, size: int) -> None:
        """Change the size of the disk; a grown part reads as zeros and is allocated. Durable on return.

        A fixed VHD has one footer, at the end of a file whose length changes, so this cannot be made fully safe. The
        new footer is written first, and made durable; only then the rest is done. A crash before that may leave: the
        old image; the new one; growing, where a file system keeps the new length but not the footer, a file without a
        footer at its end (cut it to the old length, or write a footer there); shrinking, the old image with the new
        footer in the part that was to be cut off. A crash after it may leave: growing, the new size with the old
        footer still where the grown part begins, instead of zeros; shrinking, the old size with the new footer inside.
        The disk up to the smaller of the two sizes is never touched.

        Raises OutOfSpace, growing, with the old size in force as before the call.
        """
        self._storage.flush()
        footer = resized(self._footer, size)
        if size > self.size:
            self._grow(footer)
        else:
            self._shrink(footer)
        self._footer = footer

    def _grow(self, footer: Footer) -> None:
        storage, old, size = self._storage, self.size, footer.current_size
        length = storage.size()
        # A file may be longer than its disk and its footer.
        unused = min(size, length - SIZE)
        places = [(old, unused - old), (length, size - length)]
        try:
            if unused > old:
                self._write_zeros(old, unused)
                storage.flush()
            storage.write([(size, vhd_footer.build(footer))])
            storage.flush()
            # A disk that was promised its space must not run out of it when it is written to. The old footer stays
            # until there is space for all: it is what counts again when there is not.
            transfer.reserve(storage, [place for place in places if place[1] > 0])
            # The old footer last, and by writing: a hole would take its space away.
            self._write_zeros(max(old, unused), min(length, size))
        except OutOfSpace:
            storage.truncate(length)
            # The new one may have been put on it.
            storage.write([(max(old, length - SIZE), vhd_footer.build(self._footer))])
            storage.flush()
            raise
        if length > size + SIZE:
            storage.truncate(size + SIZE)
        storage.flush()

    def _write_zeros(self, start: int, end: int) -> None:
        for at in range(start, end, transfer.PIECE):
            self._storage.write([(at, bytes(min(transfer.PIECE, end - at)))])

    def _shrink(self, footer: Footer) -> None:
        self._storage.write([(footer.current_size, vhd_footer.build(footer))])
        self._storage.flush()
        self._storage.truncate(footer.current_size + SIZE)
        self._storage.flush()


def fixed_vhd(
    storage: Storage, footer: Footer, *, warnings: tuple[str, ...] = (), under_construction: bool = False
) -> FlatImage:
    """The fixed VHD in *storage*, whose footer is *footer*."""
    return FlatImage(storage, FooterBehind(storage, footer, warnings), under_construction=under_construction)
