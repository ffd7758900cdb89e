"""The parent locator of a differencing VHDX (MS-VHDX 2.6.2.6).

Windows writes ``parent_linkage2``, which the specification forbids in one sentence and allows in the next: both
linkages are read, and either may match. Paths are Windows paths from an untrusted image: never open one unchecked.
"""

from dataclasses import dataclass, field
from uuid import UUID

from construct import Int16ul, Int32ul, Struct

from vhdx.errors import FormatError
from vhdx.format.record import GUID, Record

VHDX_PARENT = UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")
PATH_KEYS = ("relative_path", "volume_path", "absolute_win32_path")
"""In the order in which Windows tries them."""
LINKAGE, LINKAGE2 = "parent_linkage", "parent_linkage2"
MOST_PAIRS = 256
"""A larger count is treated as damage."""

_SECTION = "2.6.2.6"
_LONGEST_TEXT = 0xFFFF


@dataclass(frozen=True, slots=True)
class LocatorHeader:
    """The start of the item."""

    locator_type: UUID
    reserved: int
    key_value_count: int


@dataclass(frozen=True, slots=True)
class LocatorEntry:
    """Offsets of one key and its value from the start of the item; lengths in bytes."""

    key_offset: int
    value_offset: int
    key_length: int
    value_length: int


@dataclass(frozen=True, slots=True)
class ParentLocator:
    """The decoded item; *others* keeps unknown key-value pairs."""

    linkage: UUID
    linkage2: UUID | None = None
    paths: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


HEADER: Record[LocatorHeader] = Record(
    LocatorHeader,
    Struct("locator_type" / GUID, "reserved" / Int16ul, "key_value_count" / Int16ul),
    structure="parent locator",
    section=_SECTION,
)
ENTRY: Record[LocatorEntry] = Record(
    LocatorEntry,
    Struct("key_offset" / Int32ul, "value_offset" / Int32ul, "key_length" / Int16ul, "value_length" / Int16ul),
    structure="parent locator entry",
    section=_SECTION,
)


def parse(item: bytes, offset: int | None = None) -> ParentLocator:
    """The locator in *item*, at file offset *offset*. Raises FormatError."""

    def wrong(reason: str) -> FormatError:
        return FormatError(HEADER.structure, offset, reason, _SECTION)

    header = HEADER.parse(item, offset)
    if header.locator_type != VHDX_PARENT:
        raise wrong(f"the type {header.locator_type} is not that of a VHDX parent")
    if header.reserved:
        raise wrong("the reserved field is not zero")
    if not 1 <= header.key_value_count <= MOST_PAIRS:
        raise wrong(f"{header.key_value_count} pairs are not between 1 and {MOST_PAIRS}")
    pairs: dict[str, str] = {}
    for number in range(header.key_value_count):
        at = HEADER.size + number * ENTRY.size
        entry = ENTRY.parse(item[at : at + ENTRY.size], None if offset is None else offset + at)
        key, value = pair(item, entry)
        if key is None or value is None:
            raise wrong(f"pair {number} is not text inside the item")
        if key in pairs:
            raise wrong(f"key {key!r} occurs twice")
        pairs[key] = value
    linkage, linkage2 = (guid(pairs.pop(key, None)) for key in (LINKAGE, LINKAGE2))
    if linkage is None:
        raise wrong(f"{LINKAGE} is missing or not a GUID")
    paths = {key: pairs.pop(key) for key in PATH_KEYS if key in pairs}
    if not paths:
        raise wrong("no path to the parent is recorded")
    return ParentLocator(linkage, linkage2, paths, pairs)


def pair(item: bytes, entry: LocatorEntry) -> tuple[str | None, str | None]:
    """Key and value of an entry; None for one that is empty, not text, or extends beyond the item."""
    key = _text(item, entry.key_offset, entry.key_length)
    return key, _text(item, entry.value_offset, entry.value_length)


def _text(item: bytes, offset: int, length: int) -> str | None:
    if not length or length % 2 or offset + length > len(item):
        return None
    try:
        text = item[offset : offset + length].decode("utf-16-le")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def guid(text: str | None) -> UUID | None:
    """The value of a linkage; None if missing or not a GUID."""
    try:
        return UUID(text) if text is not None else None
    except ValueError:
        return None


def build(locator: ParentLocator) -> bytes:
    """The item's bytes. Raises FormatError for what `parse` would reject: no path, or invalid text."""
    if not any(key in locator.paths for key in PATH_KEYS):
        reason = f"no path to the parent is recorded in {', '.join(PATH_KEYS)}"
        raise FormatError(HEADER.structure, None, reason, _SECTION)
    pairs = {LINKAGE: f"{{{locator.linkage}}}"}
    if locator.linkage2 is not None:
        pairs[LINKAGE2] = f"{{{locator.linkage2}}}"
    pairs |= locator.paths | locator.others
    head = HEADER.build(LocatorHeader(VHDX_PARENT, 0, len(pairs)))
    texts = b""
    start = len(head) + len(pairs) * ENTRY.size
    for key, value in pairs.items():
        try:
            encoded = key.encode("utf-16-le"), value.encode("utf-16-le")
        except UnicodeEncodeError as error:
            raise FormatError(HEADER.structure, None, f"{key!r} {value!r} is not Unicode text", _SECTION) from error
        if not key or not value or "\0" in key + value:
            raise FormatError(HEADER.structure, None, f"{key!r} {value!r} is empty or contains a NUL", _SECTION)
        if max(map(len, encoded)) > _LONGEST_TEXT:
            raise FormatError(HEADER.structure, None, f"{key} is too long to be recorded", _SECTION)
        key_at, value_at = start + len(texts), start + len(texts) + len(encoded[0])
        head += ENTRY.build(LocatorEntry(key_at, value_at, len(encoded[0]), len(encoded[1])))
        texts += encoded[0] + encoded[1]
    return head + texts
