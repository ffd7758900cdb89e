"""The check of one file: its format, then its structures in the order in which a reader needs them."""

import time
from collections.abc import Iterable, Iterator

from vhdx.check.blocks import check_blocks, check_space
from vhdx.check.container import LARGEST_FILE, check_gaps, check_identifier, check_size
from vhdx.check.content import check_content
from vhdx.check.finding import Finding, found, limited
from vhdx.check.headers import check_headers, log_place
from vhdx.check.log import check_growth, check_log
from vhdx.check.metadata import check_metadata
from vhdx.check.regions import check_regions
from vhdx.check.rule import Severity
from vhdx.check.vhd import check_vhd
from vhdx.errors import FormatError
from vhdx.format import header
from vhdx.format.header import AREA
from vhdx.image.base import ImageFormat
from vhdx.image.open import recognise
from vhdx.image.places import Places
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_ADVICE = frozenset(
    {
        *("space-unused", "blocks-all-zero", "blocks-fragmented"),
        *("vhd-timestamp-future", "vhd-creator", "vhd-geometry"),
    }
)


def check_storage(
    storage: Storage, *, deep: bool = False, format: ImageFormat | None = None, now: float | None = None
) -> Iterator[Finding]:
    """All findings for one file, in the order of its structures.

    *format* overrides detection; *deep* reads every allocated block; *now* is in seconds since 1970-01-01 UTC
    (default: the system clock). The file is read only, and only its allocated parts. Any size and any content are
    accepted: invalid bytes never raise. Raises the transport's OSError, except for blocks that *deep* reads.
    """
    moment = time.time() if now is None else now
    return limited(_sensible(_check(storage, deep, format, moment)), storage.name)


def _sensible(findings: Iterable[Finding]) -> Iterator[Finding]:
    """*findings* without advice on space or creation if there are errors: it is of no use for a damaged file."""
    broken = False
    for finding in findings:
        broken = broken or finding.severity is Severity.ERROR
        if not (broken and finding.code in _ADVICE):
            yield finding


def _check(storage: Storage, deep: bool, format: ImageFormat | None, now: float) -> Iterator[Finding]:  # noqa: FBT001
    try:
        kind = format or _recognise(storage)
        if isinstance(kind, Finding):
            yield kind
            return
        match kind:
            case ImageFormat.VHDX:
                yield from _check_vhdx(storage, deep)
            case ImageFormat.VHD:
                yield from check_vhd(storage, deep=deep, now=now)
            case ImageFormat.RAW:
                return  # every byte is guest data
    except FormatError as error:
        # Every range is compared with the file size before it is read, so only a concurrent truncation leads here.
        yield found("file-changing", error.offset, f"{error.reason}; check it again when no process modifies it")


def _recognise(storage: Storage) -> ImageFormat | Finding:
    try:
        return recognise(storage)
    except FormatError as error:
        if error.structure == "file" and error.offset is not None:
            raise
        if error.structure == "file":
            return found("file-ambiguous", None, error.reason)
        reason = error.reason
    hint = ""
    if storage.size() >= AREA and pread(storage, header.OFFSETS[0], 4) == b"head":
        hint = "; there is a VHDX header, so the file type identifier was overwritten"
    return found("file-unrecognised", 0, reason + hint)


def _check_vhdx(storage: Storage, deep: bool) -> Iterator[Finding]:  # noqa: FBT001
    size = storage.size()
    yield from check_size(size)
    if size < AREA:
        return
    area = pread(storage, 0, AREA)
    yield from check_identifier(area)
    head = yield from check_headers(area, size)
    if head is None:
        return
    log = log_place(head, size)
    view = yield from check_log(storage, head)
    size = view.size()
    area = pread(view, 0, AREA)
    yield from check_gaps(area)
    if size > LARGEST_FILE:
        yield found("file-too-large", None, f"{size} bytes are more than any image needs; blocks were not checked")
        return
    regions = yield from check_regions(area, log, size)
    if regions is None or regions.metadata is None:
        return
    disk = yield from check_metadata(view, regions.metadata)
    if disk is None or regions.bat is None:
        return
    places = Places()
    yield from check_blocks(view, regions, disk, places)
    yield from check_growth(storage, view, places.end, log)
    yield from check_space(view, disk, places)
    if deep:
        yield from check_content(view, regions, disk)

