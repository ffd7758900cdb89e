"""Changes to the bytes of an image behind the engine's back, checksums repaired; by the specification's offsets."""

import struct
from dataclasses import dataclass
from uuid import UUID

from tests.format.raw import BAT_REGION, METADATA_REGION, MIB, PAGE, sealed
from tests.support.disks import counting_ids
from vhdx.chain.chain import Chain
from vhdx.format import log
from vhdx.image.base import CreateOptions
from vhdx.image.blocks import BlockImage
from vhdx.image.vhdx.open import open_vhdx
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.transfer import pread
from vhdx.verbs.engine import NativeEngine

HEADERS = (64 << 10, 128 << 10)
REGION_TABLES = (192 << 10, 256 << 10)


def engine(start: int = 5000) -> NativeEngine:
    """An engine whose GUIDs are its own and always the same."""
    return NativeEngine(new_id=counting_ids(start))


def create(
    files: FileSystem, size: int = 8 * MIB, path: str = "disk.vhdx", *, block: int = MIB, sector: int = 512
) -> "Forge":
    """A new empty image."""
    engine(100).create(files, path, size, CreateOptions(block_size=block, logical_sector_size=sector))
    return Forge(files, path)


def writer(files: FileSystem, path: str = "disk.vhdx", *, start: int = 7000) -> BlockImage:
    """The image by itself, open for writing."""
    return open_vhdx(files.open(path, Access.WRITE), new_id=counting_ids(start))


def reader(files: FileSystem, path: str = "disk.vhdx") -> BlockImage:
    """The image by itself, open for reading."""
    return open_vhdx(files.open(path, Access.READ), new_id=counting_ids(8000))


def disk(files: FileSystem, path: str = "disk.vhdx", *, writable: int = 0, start: int = 9000) -> Chain:
    """The disk of *path* through its layers."""
    return engine(start).open_chain(files, path, writable=writable, orphan=True)


@dataclass(frozen=True, slots=True)
class Forge:
    """The raw bytes of one closed image."""

    files: FileSystem
    path: str = "disk.vhdx"

    def read(self, offset: int, length: int) -> bytes:
        storage = self.files.open(self.path, Access.INSPECT)
        try:
            return pread(storage, offset, length)
        finally:
            storage.close()

    def write(self, offset: int, data: bytes) -> None:
        storage = self.files.open(self.path, Access.WRITE)
        try:
            storage.write([(offset, data)])
        finally:
            storage.close()

    def truncate(self, size: int) -> None:
        storage = self.files.open(self.path, Access.WRITE)
        try:
            storage.truncate(size)
        finally:
            storage.close()

    @property
    def size(self) -> int:
        return self.files.stat(self.path).size

    @property
    def everything(self) -> bytes:
        return self.read(0, self.size)

    def number_be(self, offset: int, length: int = 4) -> int:
        return int.from_bytes(self.read(offset, length), "big")

    def number(self, offset: int, length: int = 8) -> int:
        return int.from_bytes(self.read(offset, length), "little")

    def change_sealed(self, offset: int, length: int, place: int, data: bytes) -> None:
        """Put *data* at *place* of a structure of *length* bytes at *offset* and repair its checksum."""
        whole = bytearray(self.read(offset, length))
        whole[place : place + len(data)] = data
        self.write(offset, sealed(bytes(whole)))

    def change_header(self, place: int, data: bytes, *, slots: tuple[int, ...] = (0, 1)) -> None:
        for slot in slots:
            self.change_sealed(HEADERS[slot], PAGE, place, data)

    def header_valid(self, slot: int) -> bool:
        copy = self.read(HEADERS[slot], PAGE)
        return copy[:4] == b"head" and sealed(copy) == copy

    def sequence_number(self, slot: int) -> int:
        return self.number(HEADERS[slot] + 8)

    @property
    def current_header(self) -> int:
        """Where the header in force lies; both copies are valid."""
        return HEADERS[int(self.sequence_number(1) > self.sequence_number(0))]

    def header_guid(self, place: int) -> UUID:
        return UUID(bytes_le=self.read(self.current_header + place, 16))

    @property
    def file_write_guid(self) -> UUID:
        return self.header_guid(16)

    @property
    def data_write_guid(self) -> UUID:
        return self.header_guid(32)

    @property
    def log_guid(self) -> UUID:
        return self.header_guid(48)

    def region(self, guid: UUID) -> tuple[int, int]:
        """Offset and length of a region by the first table."""
        table = self.read(REGION_TABLES[0], 64 << 10)
        for number in range(struct.unpack_from("<I", table, 8)[0]):
            name, offset, length = struct.unpack_from("<16sQI", table, 16 + 32 * number)
            if name == guid.bytes_le:
                return offset, length
        raise LookupError(guid)

    @property
    def bat(self) -> int:
        return self.region(BAT_REGION)[0]

    @property
    def metadata(self) -> int:
        return self.region(METADATA_REGION)[0]

    def entry(self, index: int) -> int:
        return self.number(self.bat + 8 * index)

    def set_entry(self, index: int, raw: int) -> None:
        self.write(self.bat + 8 * index, struct.pack("<Q", raw))

    def set_regions(self, *rows: tuple[UUID, int, int, int]) -> None:
        body = b"".join(struct.pack("<16sQII", guid.bytes_le, *rest) for guid, *rest in rows)
        table = sealed((struct.pack("<4s4xIxxxx", b"regi", len(rows)) + body).ljust(64 << 10, b"\0"))
        for offset in REGION_TABLES:
            self.write(offset, table)

    def log_pages(self) -> list[tuple[int, bytes]]:
        """What replaying the log would write."""
        ring = self.read(self.number(self.current_header + 72), self.number(self.current_header + 68, 4))
        changes = log.changes(log.scan(ring, self.log_guid))
        return [(change.offset, change.data) for change in changes if isinstance(change, log.PageWrite)]

    def spoil_logged_pages(self) -> int:
        """Fill the home of every page in the log with rubbish, as if none had got there; how many there were."""
        pages = self.log_pages()
        for offset, _ in pages:
            self.write(offset, b"\xee" * PAGE)
        return len(pages)
