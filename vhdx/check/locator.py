"""Checks of the parent locator item (MS-VHDX 2.6.2.6)."""

from collections.abc import Generator, Iterator, Mapping

from vhdx.check.finding import Finding, found
from vhdx.format.locator import ENTRY, HEADER, LINKAGE, LINKAGE2, MOST_PAIRS, PATH_KEYS, VHDX_PARENT, guid, pair


def check_locator(item: bytes, at: int) -> Iterator[Finding]:
    """Findings for *item*, at file offset *at*."""
    if len(item) < HEADER.size:
        yield found("locator-count", at, f"{len(item)} bytes are too few for a locator")
        return
    header = HEADER.parse(item, at)
    if header.locator_type != VHDX_PARENT:
        message = f"the locator type {header.locator_type} is not the VHDX type, so the parent cannot be found"
        yield found("locator-type", at, message)
        return
    if header.reserved:
        yield found("locator-reserved", at + 16, f"the reserved field is {header.reserved:#x} instead of zero")
    count = header.key_value_count
    if not 1 <= count <= MOST_PAIRS or HEADER.size + count * ENTRY.size > len(item):
        yield found("locator-count", at + 18, f"{count} key-value pairs: must be 1 to {MOST_PAIRS} and fit the item")
        return
    pairs = yield from _pairs(item, count, at)
    yield from _meaning(pairs, at)


def _pairs(item: bytes, count: int, at: int) -> Generator[Finding, None, dict[str, str]]:
    pairs: dict[str, str] = {}
    for number in range(count):
        place = HEADER.size + number * ENTRY.size
        entry = ENTRY.parse(item[place : place + ENTRY.size], at + place)
        key, value = pair(item, entry)
        if key is None or value is None:
            which = "the key" if key is None else f"the value of {key!r}"
            message = f"{which} of pair {number + 1} is not UTF-16 text or extends beyond the item"
            yield found("locator-text", at + place, message)
        elif key in pairs:
            yield found("locator-duplicate", at + place, f"key {key!r} occurs twice")
        if key is not None:
            pairs.setdefault(key, value or "")
    return pairs


def _meaning(pairs: Mapping[str, str], at: int) -> Iterator[Finding]:
    if guid(pairs.get(LINKAGE)) is None:
        value = repr(pairs[LINKAGE]) + " is not a GUID" if LINKAGE in pairs else "is missing"
        yield found("locator-linkage", at, f"{LINKAGE} {value}; relink the image to its parent")
    if LINKAGE2 in pairs and guid(pairs[LINKAGE2]) is None:
        yield found("locator-linkage2", at, f"{LINKAGE2} {pairs[LINKAGE2]!r} is not a GUID; ignored")
    if not any(key in pairs for key in PATH_KEYS):
        yield found("locator-no-path", at, "no path to the parent is recorded; relink the image to its parent")
    for key in pairs:
        if key not in (LINKAGE, LINKAGE2, *PATH_KEYS):
            yield found("locator-unknown-key", at, f"key {key!r} is unknown; ignored")
