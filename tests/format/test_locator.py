"""Parent locators: those that Windows writes, ours, and hostile ones."""

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.format import raw
from vhdx.errors import FormatError
from vhdx.format import locator
from vhdx.format.locator import ParentLocator

LINKAGE = UUID("83ed0ec3-24c8-49a6-a959-5e4bd1288015")
LINKAGE2 = UUID("11111111-2222-3333-4444-555555555555")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
known = ("parent_linkage", "parent_linkage2", *locator.PATH_KEYS)
locators = st.builds(
    ParentLocator,
    linkage=st.uuids(),
    linkage2=st.none() | st.uuids(),
    paths=st.dictionaries(st.sampled_from(locator.PATH_KEYS), texts, min_size=1),
    others=st.dictionaries(texts.filter(lambda key: key not in known), texts, max_size=3),
)


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def item(**pairs: str) -> bytes:
    return raw.locator([(utf16(key), utf16(value)) for key, value in pairs.items()])


def refused(data: bytes, reason: str = "") -> None:
    with pytest.raises(FormatError, match=reason or None) as caught:
        locator.parse(data, 77)
    assert caught.value.structure.startswith("parent locator")
    assert caught.value.offset is not None


@given(locators)
def test_what_is_built_reads_back(value: ParentLocator) -> None:
    assert locator.parse(locator.build(value)) == value


def test_the_bytes_are_those_of_the_specification() -> None:
    built = locator.build(ParentLocator(LINKAGE, paths={"relative_path": ".\\parent.vhdx"}))
    assert built == item(parent_linkage="{83ed0ec3-24c8-49a6-a959-5e4bd1288015}", relative_path=".\\parent.vhdx")


def test_the_five_keys_of_windows() -> None:
    found = locator.parse(
        item(
            parent_linkage="{83ed0ec3-24c8-49a6-a959-5e4bd1288015}",
            parent_linkage2="{11111111-2222-3333-4444-555555555555}",
            relative_path="..\\base\\parent.vhdx",
            absolute_win32_path="\\\\?\\D:\\vm\\base\\parent.vhdx",
            volume_path="\\\\?\\Volume{00000000-0000-0000-0000-000000000000}\\vm\\base\\parent.vhdx",
        )
    )
    assert (found.linkage, found.linkage2) == (LINKAGE, LINKAGE2)
    assert list(found.paths) == ["relative_path", "volume_path", "absolute_win32_path"]
    assert found.paths["absolute_win32_path"] == "\\\\?\\D:\\vm\\base\\parent.vhdx"
    assert found.others == {}


def test_texts_may_lie_anywhere_in_the_item() -> None:
    key, value = utf16("parent_linkage"), utf16(str(LINKAGE))
    path, place = utf16("relative_path"), utf16("p")
    body = place + path + value + key
    at = 20 + 24
    rows = struct.pack("<IIHH", at + len(body) - len(key), at + len(place + path), len(key), len(value))
    rows += struct.pack("<IIHH", at + len(place), at, len(path), len(place))
    head = raw.LOCATOR_TYPE.bytes_le + struct.pack("<HH", 0, 2)
    assert locator.parse(head + rows + body).paths == {"relative_path": "p"}


@pytest.mark.parametrize("text", [str(LINKAGE), str(LINKAGE).upper(), f"{{{str(LINKAGE).upper()}}}"])
def test_a_linkage_is_read_in_any_case(text: str) -> None:
    assert locator.parse(item(parent_linkage=text, relative_path="p")).linkage == LINKAGE


@pytest.mark.parametrize(
    "pairs",
    [
        {"relative_path": "p"},
        {"parent_linkage2": str(LINKAGE2), "relative_path": "p"},
        {"parent_linkage": "{no guid}", "relative_path": "p"},
        {"parent_linkage": str(LINKAGE)},
        {"parent_linkage": str(LINKAGE), "Relative_Path": "p"},
        {"parent_linkage": str(LINKAGE), "relative_path": "p\0q"},
        {"parent_linkage": str(LINKAGE), "relative_path": "\ud800p"},
        {"parent_linkage": str(LINKAGE), "relative_path": ""},
        {"parent_linkage": str(LINKAGE), "relative_path": "p", "": "q"},
    ],
    ids=[
        "no linkage", "only the second linkage", "not a GUID", "no path", "another case", "NUL",
        "half a surrogate pair", "empty value", "empty key",
    ],
)  # fmt: skip
def test_refused_pairs(pairs: dict[str, str]) -> None:
    refused(item(**pairs))


def test_another_type_is_refused() -> None:
    pairs = [(utf16("parent_linkage"), utf16(str(LINKAGE))), (utf16("relative_path"), utf16("p"))]
    refused(raw.locator(pairs, kind=UUID(int=5)), "type")


def test_a_key_that_is_there_twice_is_refused() -> None:
    pair = (utf16("parent_linkage"), utf16(str(LINKAGE)))
    refused(raw.locator([pair, pair, (utf16("relative_path"), utf16("p"))]), "twice")


def test_odd_lengths_and_texts_outside_the_item_are_refused() -> None:
    sound = item(parent_linkage=str(LINKAGE), relative_path="pp")
    for place, value in ((28, 27), (30, 71), (20, len(sound)), (24, len(sound) - 70), (20, 0xFFFFFFFF)):
        size = "<I" if place in (20, 24) else "<H"
        changed = bytearray(sound)
        struct.pack_into(size, changed, place, value)
        refused(bytes(changed))
    refused(sound[:-1])


@pytest.mark.parametrize("count", [0, 257, 0xFFFF])
def test_the_number_of_pairs_has_limits(count: int) -> None:
    data = bytearray(item(parent_linkage=str(LINKAGE), relative_path="p").ljust(1 << 20, b"\0"))
    struct.pack_into("<H", data, 18, count)
    refused(bytes(data), str(count))


def test_an_item_cut_short_is_refused() -> None:
    sound = item(parent_linkage=str(LINKAGE), relative_path="p")
    for length in range(len(sound)):
        refused(sound[:length])


def test_the_reserved_field_must_be_zero() -> None:
    pairs = [(utf16("parent_linkage"), utf16(str(LINKAGE))), (utf16("relative_path"), utf16("p"))]
    refused(raw.locator(pairs, reserved=1))


@given(st.binary(max_size=400), st.integers(0, 5))
def test_any_bytes_are_a_locator_or_refused(data: bytes, count: int) -> None:
    for candidate in (data, raw.LOCATOR_TYPE.bytes_le + struct.pack("<HH", 0, count) + data):
        try:
            locator.parse(candidate, 0)
        except FormatError:
            continue


@pytest.mark.parametrize("path", ["x" * 32768, "\ud800", "name\udcff.vhdx"])
def test_a_path_that_cannot_be_recorded_is_refused(path: str) -> None:
    with pytest.raises(FormatError, match="relative_path"):
        locator.build(ParentLocator(LINKAGE, paths={"relative_path": path}))


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_could_not_be_read_back_is_refused(path: str) -> None:
    with pytest.raises(FormatError, match=r"relative_path.*is empty or contains a NUL"):
        locator.build(ParentLocator(LINKAGE, paths={"relative_path": path}))


def test_a_locator_without_a_path_is_refused() -> None:
    with pytest.raises(FormatError, match="no path to the parent"):
        locator.build(ParentLocator(LINKAGE, paths={"parent_name": "0.vhdx"}))


def test_the_longest_path_is_recorded() -> None:
    value = ParentLocator(LINKAGE, paths={"relative_path": "x" * 32767})
    assert locator.parse(locator.build(value)) == value
