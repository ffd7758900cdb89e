"""Structures, numbers and prototypes are those of Microsoft's metadata: each that is declared, and each in full."""

import ast
import ctypes
import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

from tests.virtdisk.facts import FACTS
from vhdx.virtdisk import constants, functions, structures, text
from vhdx.virtdisk.constants import Device, Subtype
from vhdx.virtdisk.functions import KERNEL, VIRTDISK, VIRTDISK_RETURNS

INTEGERS = {
    ctypes.c_int32, ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64,
}  # fmt: skip
PLATFORM_WIDE = {"c_long", "c_ulong", "c_wchar", "c_wchar_p", "c_longdouble", "wintypes", "create_unicode_buffer"}
"""Types whose width is another on Windows. c_size_t and c_void_p are 8 bytes on every 64-bit platform."""

NOT_IN_METADATA = {Subtype}
"""Told in the text of Microsoft's documentation only."""


def declared() -> dict[str, Any]:
    """The structures with Microsoft's names; what goes into them begins with an underscore."""
    kinds = (ctypes.Structure, ctypes.Union)
    return {
        name: one for name, one in vars(structures).items()
        if inspect.isclass(one) and issubclass(one, kinds) and not name.startswith("_") and name != "GUID"
    }  # fmt: skip


def kind(type_: Any) -> str:
    if type_ is structures.GUID:
        return "guid"
    if issubclass(type_, ctypes.Structure):
        return "structure"
    if issubclass(type_, ctypes.Array):
        return "array"
    return "integer" if type_ in INTEGERS else "pointer"


def members(type_: Any, start: int = 0, prefix: str = "") -> Iterator[tuple[str, tuple[int, int, str]]]:
    """Dotted names with offset, size and kind; what is anonymous has no name."""
    anonymous = getattr(type_, "_anonymous_", ())
    for name, inner in type_._fields_:
        offset = start + getattr(type_, name).offset
        inside = prefix
        if name not in anonymous:
            yield prefix + name, (offset, ctypes.sizeof(inner), kind(inner))
            inside = f"{prefix}{name}."
        if inner is not structures.GUID and issubclass(inner, (ctypes.Structure, ctypes.Union)):
            yield from members(inner, offset, inside)


def enumerations() -> list[type[Enum]]:
    return [
        one for one in vars(constants).values()
        if inspect.isclass(one) and issubclass(one, Enum) and one.__module__ == constants.__name__
        and one not in NOT_IN_METADATA
    ]  # fmt: skip


def title(thing: Any) -> str:
    """Microsoft's name of it, which its text begins with."""
    return (thing.__doc__ or "").partition(":")[0]


def microsofts(enumeration: type[Enum]) -> dict[str, int]:
    """What Microsoft has under an enumeration's name; of versions, not the one that is zero."""
    if enumeration is Device:
        return {name: value for name, value in FACTS["constants"].items() if name.startswith(title(Device))}
    found: dict[str, int] = FACTS["enumerations"][title(enumeration)]
    return {name: value for name, value in found.items() if not name.endswith("_UNSPECIFIED")}


def test_the_source_is_named() -> None:
    assert FACTS["source"]["package"] == "Microsoft.Windows.SDK.Win32Metadata"
    assert len(FACTS["source"]["sha256"]) == 64


def test_something_is_declared() -> None:
    assert declared()
    assert enumerations()


@pytest.mark.parametrize("name", declared())
def test_a_structure_is_laid_out_as_on_windows(name: str) -> None:
    """Every member, those of all versions; none is left out, none is added."""
    fact, type_ = FACTS["structures"][name], declared()[name]
    theirs = {name: tuple(member) for name, member in fact["members"].items()}
    assert dict(members(type_)) == theirs
    assert (ctypes.sizeof(type_), ctypes.alignment(type_)) == (fact["size"], fact["alignment"])


@pytest.mark.parametrize("module", [structures, functions, text], ids=lambda one: one.__name__)
def test_no_type_has_another_width_elsewhere(module: ModuleType) -> None:
    """The source is looked at: on Linux ctypes has one class for c_ulong and c_uint64."""
    tree = ast.parse(Path(module.__file__ or "").read_text())
    spoken = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    spoken |= {one.attr for one in ast.walk(tree) if isinstance(one, ast.Attribute)}
    assert not PLATFORM_WIDE & spoken
    assert spoken & {"c_uint16", "c_uint32"}


def test_a_guid_is_stored_as_on_windows() -> None:
    assert (ctypes.sizeof(structures.GUID), ctypes.alignment(structures.GUID)) == (16, 4)
    text = "00112233-4455-6677-8899-aabbccddeeff"
    stored = structures.guid(UUID(text))
    assert bytes(stored).hex() == "33221100554477668899aabbccddeeff"
    assert structures.uuid(stored) == UUID(text)


@pytest.mark.parametrize("enumeration", enumerations(), ids=title)
def test_an_enumeration_is_microsofts(enumeration: type[Enum]) -> None:
    """Every number, under a name that ends as ours; none is left out."""
    theirs = microsofts(enumeration)
    ours = enumeration.__members__
    beginning = title(enumeration).removesuffix("_VERSION").removesuffix("_MASK")
    assert {name: one.value for name, one in ours.items()} == {
        name.removeprefix(f"{beginning}_"): value for name, value in theirs.items()
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (constants.VENDOR_MICROSOFT, "VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT"),
        (constants.VENDOR_UNKNOWN, "VIRTUAL_STORAGE_TYPE_VENDOR_UNKNOWN"),
        (constants.RW_DEPTH_DEFAULT, "OPEN_VIRTUAL_DISK_RW_DEPTH_DEFAULT"),
        (constants.MAXIMUM_CHANGE_TRACKING_ID_LENGTH, "VIRTUAL_DISK_MAXIMUM_CHANGE_TRACKING_ID_LENGTH"),
    ],
)
def test_a_constant_is_microsofts(ours: int | UUID, theirs: str) -> None:
    assert str(ours) == str(FACTS["constants"][theirs])


def test_every_other_number_is_microsofts() -> None:
    """By its name, so that none is added without being looked at."""
    known = {**FACTS["codes"], **FACTS["kernel"]}
    plain = {name: value for name, value in vars(constants).items() if name.isupper() and isinstance(value, int)}
    others = plain.keys() - {"RW_DEPTH_DEFAULT", "MAXIMUM_CHANGE_TRACKING_ID_LENGTH"}
    assert len(others) == 7
    assert {name: plain[name] for name in others} == {name: known[name] for name in others}


@pytest.mark.parametrize("name", [*VIRTDISK, *KERNEL])
def test_a_function_takes_and_returns_what_microsofts_does(name: str) -> None:
    returns, takes = (VIRTDISK_RETURNS, VIRTDISK[name]) if name in VIRTDISK else KERNEL[name]
    fact = FACTS["functions"][name]
    assert [passed(one) for one in takes] == [tuple(one) for _, one in fact["parameters"]]
    assert passed(returns) == tuple(fact["returns"])


def passed(type_: Any) -> tuple[int, str]:
    return ctypes.sizeof(type_), kind(type_)


def test_codes_are_never_negative() -> None:
    """A code is 0xC03A001B, not -1069940709."""
    assert VIRTDISK_RETURNS(0xC03A001B).value == 0xC03A001B
