"""Fields of declared records with their meaning, and reads that stop at end of file."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from vhdx.dump.structure import Field, Value
from vhdx.dump.words import quoted, size_text
from vhdx.format.record import NO_GUID, Record, RecordField
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

Gloss = Callable[[RecordField], tuple[Value, str]]
"""The value of a field and what it means."""


def read_some(storage: Storage, offset: int, length: int, size: int) -> bytes:
    """The bytes of a range, cut at *size*, the file size."""
    inside = max(min(length, size - offset), 0)
    return pread(storage, offset, inside) if inside else b""


def record_fields(
    record: Record[Any], data: bytes, offset: int, glosses: Mapping[str, Gloss], prefix: str = ""
) -> Iterator[Field]:
    """The fields of *record* in *data*, at file offset *offset*."""
    for field in record.fields(data, offset):
        name = prefix + field.name
        if len(field.raw) < field.length:
            yield Field(name, field.offset, field.raw, None, "missing: beyond end of file")
            continue
        value, meaning = glosses.get(field.name, plain)(field)
        yield Field(name, field.offset, field.raw, value, meaning)


def plain(field: RecordField) -> tuple[Value, str]:
    """The plain value; for reserved bytes, whether they are zero."""
    match field.value:
        case UUID():
            return str(field.value), "none" if field.value == NO_GUID else ""
        case int():
            return field.value, ""
        case bytes():
            return quoted(field.value.rstrip(b"\0")), ""
        case _:
            return None, "all zeros" if not any(field.raw) else "reserved, but not all zeros"


def sized(field: RecordField) -> tuple[Value, str]:
    """A number of bytes."""
    return _number(field), size_text(_number(field))


def signature(right: bytes) -> Gloss:
    """The signature of a structure."""

    def gloss(field: RecordField) -> tuple[Value, str]:
        wanted = "" if field.raw == right else f"wrong: must be {quoted(right)}"
        return quoted(field.raw), wanted or "correct"

    return gloss


def checksum(right: int | None, *, big_endian: bool = False) -> Gloss:
    """A stored checksum compared with the computed one, which is None if it cannot be computed."""

    def gloss(field: RecordField) -> tuple[Value, str]:
        stored = int.from_bytes(field.raw, "big" if big_endian else "little")
        if right is None:
            return stored, "cannot be verified: the structure is truncated"
        return stored, "correct" if stored == right else f"wrong: must be {right:#010x} ({right})"

    return gloss


def known(meanings: Mapping[int, str]) -> Gloss:
    """A number with a table of known values."""
    return lambda field: (_number(field), meanings.get(_number(field), "unknown"))


def flags(names: Mapping[int, str], none: str = "none is set") -> Gloss:
    """Flag bits by their values."""

    def gloss(field: RecordField) -> tuple[Value, str]:
        number = _number(field)
        said = [name for bit, name in names.items() if number & bit]
        rest = number & ~sum(names)
        said += [f"reserved bits {rest:#x}"] if rest else []
        return number, ", ".join(said) or none

    return gloss


def utf16(encoding: str) -> Gloss:
    """Text up to the first NUL."""

    def gloss(field: RecordField) -> tuple[Value, str]:
        text = field.raw.decode(encoding, "replace").split("\0", 1)[0]
        return text, "not valid text" if "\ufffd" in text else "" if text else "empty"

    return gloss


def _number(field: RecordField) -> int:
    assert isinstance(field.value, int)
    return field.value
