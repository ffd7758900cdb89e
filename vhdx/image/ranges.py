"""The ranges of a disk that an image takes."""

from vhdx.errors import Error


def check_range(name: str, offset: int, length: int, *, size: int, sector: int) -> None:
    """Raises Error for what is not whole sectors of *sector* bytes inside a disk of *size* bytes."""
    if offset < 0 or length < 0 or offset + length > size:
        raise Error(f"{name}: {length} bytes at {offset} are not inside the disk of {size} bytes")
    if offset % sector or length % sector:
        raise Error(f"{name}: {length} bytes at {offset} are not whole sectors")
