"""Parent locators of a VHD: paths to the parent of a differencing image, per platform (VHD 1.0).

Windows records the path twice, in UTF-16LE: absolute (``W2ku``) and relative (``W2ru``), and a name in the dynamic
header in UTF-16BE. The specification counts the data space of an entry in sectors, Windows in bytes, so only offset
and length are trusted. Paths come from an untrusted image: never open one unchecked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from construct import Bytes, Int32ub, Int64ub, Padding, Struct

from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format.record import Record

COUNT = 8
TABLE_SIZE = COUNT * 24
NAME_SIZE = 512


class Platform(NamedTuple):
    """A platform code.

    *followed*: current programs use it to find the parent. *key*: this package's name for its UTF-16LE path, "" if this
    package does not read it.
    """

    meaning: str
    followed: bool = False
    key: str = ""


ABSOLUTE, RELATIVE = b"W2ku", b"W2ru"
PLATFORMS = {
    ABSOLUTE: Platform("the path on Windows", followed=True, key="absolute_win32_path"),
    RELATIVE: Platform("the path on Windows, from the directory of this file", followed=True, key="relative_path"),
    b"Wi2k": Platform("deprecated"),
    b"Wi2r": Platform("deprecated"),
    b"MacX": Platform("a file URL on a Macintosh", followed=True),
    b"Mac ": Platform("an alias on a Macintosh"),
}
"""All codes, in the order in which Windows tries them."""
KEYS = {code: platform.key for code, platform in PLATFORMS.items() if platform.key}
PARENT_NAME = "parent_name"
LONGEST = 64 << 10
"""The maximum length of a path in bytes."""

_SECTION = "VHD 1.0 parent locator"


@dataclass(frozen=True, slots=True)
class LocatorPlace:
    """One entry: platform code, reserved space, used length, file offset."""

    code: bytes
    data_space: int
    data_length: int
    data_offset: int

    @property
    def room(self) -> Range:
        """The file range reserved for it, as far as it can be determined."""
        space = self.data_space
        if space < self.data_length or space % 512:
            space *= 512  # in sectors, as the specification defines it
        return Range(self.data_offset, max(min(space, 2 * LONGEST), self.data_length))


ENTRY: Record[LocatorPlace] = Record(
    LocatorPlace,
    Struct(
        "code" / Bytes(4),
        "data_space" / Int32ub,
        "data_length" / Int32ub,
        "reserved" / Padding(4),
        "data_offset" / Int64ub,
    ),
    structure="parent locator",
    section=_SECTION,
)


def parse_entries(table: bytes) -> list[LocatorPlace]:
    """The entries in use, in table order."""
    entries = [ENTRY.parse(table[at : at + ENTRY.size]) for at in range(0, TABLE_SIZE, ENTRY.size)]
    return [entry for entry in entries if any(entry.code)]


def build_entries(entries: Sequence[LocatorPlace]) -> bytes:
    """The locator table of the dynamic header."""
    return b"".join(map(ENTRY.build, entries)).ljust(TABLE_SIZE, b"\0")


def decode_path(data: bytes) -> str | None:
    """The path in an entry's data, or None if it is not text."""
    if len(data) % 2:
        return None
    try:
        text = data.decode("utf-16-le").rstrip("\0")
    except UnicodeDecodeError:
        return None
    return text if text and "\0" not in text else None


def encode_path(path: str) -> bytes:
    """The data of an entry. Raises FormatError for a path that cannot be recorded."""
    data = _encode(path, "utf-16-le")
    if not path or "\0" in path or len(data) > LONGEST:
        raise FormatError(ENTRY.structure, None, f"the path {path!r} cannot be recorded", _SECTION)
    return data


def decode_name(field: bytes) -> str | None:
    """The parent's name in the dynamic header, or None."""
    try:
        text = field.decode("utf-16-be").partition("\0")[0]
    except UnicodeDecodeError:
        return None
    return text or None


def encode_name(name: str) -> bytes:
    """The name as stored in the dynamic header; only its last part if it is too long. Raises FormatError."""
    for text in (name, name.replace("/", "\\").rsplit("\\", 1)[-1]):
        data = _encode(text, "utf-16-be")
        if "\0" not in text and len(data) <= NAME_SIZE:
            return data.ljust(NAME_SIZE, b"\0")
    raise FormatError(ENTRY.structure, None, f"the parent's name {name!r} is too long to be recorded", _SECTION)


def _encode(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        raise FormatError(ENTRY.structure, None, f"{text!r} is not Unicode text", _SECTION) from error
