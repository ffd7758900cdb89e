"""Attaches the findings of a check to the structures of the requested parts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vhdx.check import CODES, Finding, Severity
from vhdx.dump.structure import Draft, DumpPart, Structure

_PARTS = {
    "file identifier": DumpPart.HEADERS,
    "header": DumpPart.HEADERS,
    "dynamic header": DumpPart.HEADERS,
    "log": DumpPart.LOG,
    "log entry": DumpPart.LOG,
    "region table": DumpPart.REGIONS,
    "region table entry": DumpPart.REGIONS,
    "metadata table": DumpPart.METADATA,
    "metadata table entry": DumpPart.METADATA,
    "file parameters": DumpPart.METADATA,
    "virtual disk size": DumpPart.METADATA,
    "virtual disk id": DumpPart.METADATA,
    "logical sector size": DumpPart.METADATA,
    "physical sector size": DumpPart.METADATA,
    "parent locator": DumpPart.LOCATOR,
    "BAT": DumpPart.BAT,
    "BAT entry": DumpPart.BAT,
    "block table": DumpPart.BAT,
    "block table entry": DumpPart.BAT,
    "payload block": DumpPart.BAT,
    "sector bitmap": DumpPart.BITMAP,
    "batmap": DumpPart.BITMAP,
    "footer": DumpPart.FOOTER,
}
_FILE = {
    "reserved-area": DumpPart.HEADERS,
    "file-size-alignment": DumpPart.HEADERS,
    "vhd-overlap": DumpPart.HEADERS,
    "fixed-file-short": DumpPart.BAT,
    "space-unused": DumpPart.BAT,
    "vhd-fixed-file-short": DumpPart.FOOTER,
    "vhd-fixed-file-long": DumpPart.FOOTER,
}
"""Findings about the file that belong to one part; others belong to all parts."""


def part_of(finding: Finding) -> DumpPart | None:
    """The part that a finding belongs to; None for the whole file."""
    code = finding.code
    if code == "findings-left-out":
        code = next((left for left in CODES if f" {left} " in finding.message), code)
    return _FILE.get(code) or _PARTS.get(CODES[code].structure)


class DumpLedger:
    """Yields every finding for the parts in *asked* exactly once."""

    def __init__(self, findings: Iterable[Finding], asked: Sequence[DumpPart]) -> None:
        self._asked = asked
        self._of_all: list[Finding] = []
        self._waiting: dict[DumpPart, list[Finding]] = {}
        for finding in findings:
            part = part_of(finding)
            (self._of_all if part is None else self._waiting.setdefault(part, [])).append(finding)

    def whole_file(self, size: int) -> Iterator[Structure]:
        """A structure for findings about the whole file, if there are any."""
        if self._of_all:
            findings, self._of_all = tuple(self._of_all), []
            yield Structure(self._asked[0], "file", 0, size, findings=findings)

    def settle(self, draft: Draft) -> Structure:
        """The structure with the findings that belong to it."""
        structure = draft.structure
        waiting = self._waiting.get(structure.part, [])
        taken = [finding for finding in waiting if _belongs(finding, draft)] if waiting else []
        if taken:
            kept = set(map(id, taken))
            self._waiting[structure.part] = [finding for finding in waiting if id(finding) not in kept]
        return replace(structure, findings=(*self._reasons(draft), *taken))

    def _reasons(self, draft: Draft) -> Iterator[Finding]:
        """Errors in parts that were not requested, but that this structure depends on."""
        for part in draft.needs:
            if part not in self._asked:
                found = self._waiting.pop(part, [])
                yield from (finding for finding in found if finding.severity is Severity.ERROR)

    def rest(self, part: DumpPart) -> Iterator[Structure]:
        """Findings for the part that no structure took."""
        groups: dict[str, list[Finding]] = {}
        for finding in self._waiting.pop(part, []):
            groups.setdefault(finding.structure, []).append(finding)
        for name, findings in groups.items():
            yield Structure(part, name, findings[0].offset, 0, findings=tuple(findings))


def _belongs(finding: Finding, draft: Draft) -> bool:
    if finding.structure not in draft.takes:
        return False
    if draft.anywhere:
        return True
    start = draft.structure.offset
    if start is None or finding.offset is None:
        return False
    return start <= finding.offset < start + max(draft.structure.length, 1)
