"""Whose the start of a VHD is when the footer at its end cannot be read.

Of a disk with blocks it is the copy of the footer. Of a fixed disk it is the guest's, who may keep a whole VHD there.
What is left at the end of the file tells one from the other, as that is out of a guest's reach.
"""

from vhdx.errors import Error
from vhdx.format import vhd_footer
from vhdx.format.vhd_footer import OLD_SIZE, SIZE, Footer
from vhdx.image.marks import ends
from vhdx.storage import transfer
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_PIECE = 1 << 20


def why_start_is_guests(storage: Storage) -> str:
    """Why nothing at the start of the file counts, though no footer at its end can be read; empty where it may count.

    Where all that was at the end is lost, too, nobody can tell; then it may count.
    """
    size, _, tail = ends(storage)
    for length in (SIZE, OLD_SIZE):
        if size >= length and vhd_footer.is_left_of_fixed(tail[SIZE - length :], size - length):
            return "what is left of the footer at the end is that of a fixed disk, whose start is the guest's"
    lost = lost_footer(storage)
    if lost is not None:
        return (
            f"a footer of a fixed disk lies at {lost.current_size}, where that disk ends, and zeros behind it: growing "
            "it may have been cut short, and its start is the guest's"
        )
    return ""


def lost_footer(storage: Storage) -> Footer | None:
    """The footer of a fixed disk that lies where its disk ends, nothing but zeros behind it; else None."""
    last = _last_byte(storage)
    if last is None or last // SIZE * SIZE + SIZE >= storage.size():
        return None
    offset = last // SIZE * SIZE
    try:
        footer, sealed = vhd_footer.parse(pread(storage, offset, SIZE), offset)
    except Error:
        return None
    return footer if sealed and not footer.is_dynamic and footer.current_size == offset else None


def _last_byte(storage: Storage) -> int | None:
    """Where the last byte lies that is not zero."""
    for held in reversed(list(transfer.allocated(storage, 0, storage.size()))):
        for start in reversed(range(held.offset, held.end, _PIECE)):
            data = pread(storage, start, min(_PIECE, held.end - start)).rstrip(b"\0")
            if data:
                return start + len(data) - 1
    return None
