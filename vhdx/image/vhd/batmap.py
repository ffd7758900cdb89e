"""The map of full blocks in an open VHD that blktap made (see `vhdx.format.vhd_batmap`).

Here no bit is ever set, since a clear one is always true; but a block that loses its place, or sectors, must not be
called full for a moment. Header and bits are of more than one sector, so they cannot change at once: the bits are
written elsewhere, durable, then the header, which is one sector, names them.
"""

from vhdx.extents import Range
from vhdx.format import vhd_batmap
from vhdx.format.vhd_bat import SECTOR
from vhdx.format.vhd_batmap import COOKIE, HEADER, LATEST
from vhdx.format.vhd_footer import Footer
from vhdx.format.vhd_header import DynamicHeader
from vhdx.storage import transfer
from vhdx.storage.base import Buffer, Storage
from vhdx.storage.transfer import pread


class Batmap:
    """One map. *bits* are as the next commit leaves them; *spare* is where they wait for it, None while all is written.

    *head* is the sector of the header: what is in it besides offset, length and checksum is kept.
    """

    def __init__(self, head: bytes, header_at: int, place: Range, bits: bytearray) -> None:
        self._head = head
        self.header_at = header_at
        self.place = place
        self.bits = bits
        self.spare: Range | None = None

    @classmethod
    def empty(cls) -> "Batmap":
        """One that is nowhere yet and calls nothing full."""
        head = HEADER.build(vhd_batmap.BatmapHeader(COOKIE, 0, 0, LATEST, 0)).ljust(SECTOR, b"\0")
        return cls(head, 0, Range(0, 0), bytearray())

    @property
    def home(self) -> Range:
        """Where the bits belong: right behind the header."""
        return Range(self.header_at + SECTOR, len(self.bits))

    @property
    def structures(self) -> list[tuple[str, Range]]:
        """What of it is in the file, and where."""
        return [("header of the batmap", Range(self.header_at, SECTOR)), ("batmap", self.place)]

    def calls_full(self, block: int) -> bool:
        return block // 8 < len(self.bits) and bool(self.bits[block // 8] << block % 8 & 0x80)

    def clear(self, block: int) -> None:
        """The block is not full; there has to be a spare place."""
        assert self.spare is not None
        self.bits[block // 8] &= ~(0x80 >> block % 8)

    def moved(self, header_at: int, held: int, blocks: int) -> tuple["Batmap", list[tuple[int, Buffer]]]:
        """The map for *blocks* at another place, and what is to be written for it; none from *held* on is full."""
        bits = self.bits[: -(-held // 8)].ljust(vhd_batmap.bits_size(blocks), b"\0")
        if held % 8:
            bits[held // 8] &= 0xFF00 >> held % 8 & 0xFF
        place = Range(header_at + SECTOR, len(bits))
        batmap = Batmap(self._head, header_at, place, bits)
        return batmap, [(header_at, batmap._header(place)), (place.offset, bytes(bits))]

    def go(self, storage: Storage, place: Range) -> None:
        """Have the bits at *place*, where nothing is. Durable on return; before, the old bits count or the new ones."""
        storage.write([(place.offset, bytes(self.bits))])
        storage.flush()
        storage.write([(self.header_at, self._header(place))])
        storage.flush()
        self.place = place

    def _header(self, place: Range) -> bytes:
        old = HEADER.parse(self._head)
        new = vhd_batmap.BatmapHeader(
            old.cookie,
            place.offset,
            place.length // SECTOR,
            old.version,
            vhd_batmap.checksum(self.bits, old.version),
        )
        return HEADER.build(new) + self._head[HEADER.size :]


def room_of(batmap: Batmap | None, blocks: int) -> int:
    """Bytes that a map for so many blocks takes, header included."""
    return 0 if batmap is None else SECTOR + vhd_batmap.bits_size(blocks)


def find_batmap(storage: Storage, footer: Footer, header: DynamicHeader, limit: int) -> Batmap | None:
    """The map of the file, which ends at *limit*, if there is a sound one."""
    at = vhd_batmap.header_place(header.table_offset, header.max_entries)
    if not vhd_batmap.is_possible(footer) or at + SECTOR > limit:
        return None
    head = pread(storage, at, SECTOR)
    if not head.startswith(COOKIE):
        return None
    found = HEADER.parse(head)
    place = Range(found.offset, found.sectors * SECTOR)
    most = vhd_batmap.bits_size(header.max_entries) + transfer.PIECE
    # Its maker rounds down to whole bytes.
    too_short = place.length < max(header.max_entries // 8, 1)
    if found.version > LATEST or place.end > limit or place.length > most or too_short:
        return None
    bits = bytearray(pread(storage, place.offset, place.length))
    if vhd_batmap.checksum(bits, found.version) != found.checksum:
        return None
    return Batmap(head, at, place, bits)
