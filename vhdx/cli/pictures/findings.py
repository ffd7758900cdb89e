"""What a check found, for the page: a verdict, and tables by file with the gravest first."""

from collections import Counter
from collections.abc import Iterable, Sequence

from vhdx.check import Finding, Severity
from vhdx.check.remedies import REMEDIES
from vhdx.cli.pictures.page import PageOutcome, PageTable, Row
from vhdx.errors import Error

_COLUMNS = ("Severity", "Structure", "Offset", "What was found", "What to do", "Rule")
_MOST = 300
"""Findings of each severity that the page shows: a hundred of each code come from a check of one file."""


class Findings:
    """Findings as they come, few of which are kept: a hostile chain may have millions. *name* is the leaf's file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kept: list[Finding] = []
        self._counts: Counter[Severity] = Counter()
        self._stopped = ""

    def collect(self, found: Iterable[Finding]) -> None:
        """Take them all; a check that cannot go on is told on the page. Raises OSError when the transport fails."""
        try:
            for finding in found:
                self._counts[finding.severity] += 1
                if self._counts[finding.severity] <= _MOST:
                    self._kept.append(finding)
        except (Error, PermissionError) as error:
            self._stopped = str(error)

    @property
    def verdict(self) -> PageOutcome:
        """How the image is."""
        if self._counts[Severity.ERROR]:
            return PageOutcome("bad", "damaged", self._counted())
        if self._stopped:
            return PageOutcome("none", "not checked", f"the check could not be finished: {self._stopped}")
        if self._counts[Severity.WARNING]:
            return PageOutcome("poor", "readable, with flaws", self._counted())
        return PageOutcome("good", "clean", self._counted() or "every rule of the format is kept")

    @property
    def note(self) -> str:
        """What there is to say before the tables."""
        if self._stopped:
            return f"The check could not be finished: {self._stopped}"
        return f"{self._counted()}." if self._kept else "Nothing was found, in the image or in the layers under it."

    def tables(self) -> list[PageTable]:
        """One for each file."""
        by_file: dict[str, list[Finding]] = {self._name: []}
        for finding in self._kept:
            by_file.setdefault(finding.file or self._name, []).append(finding)
        tables = [PageTable(name, _COLUMNS, _rows(findings)) for name, findings in by_file.items() if findings]
        left = self._counts.total() - len(self._kept)
        if left:
            tables.append(PageTable("Left out", _COLUMNS, (), left_out=f"{left} more findings are not shown."))
        return tables

    def _counted(self) -> str:
        return ", ".join(
            f"{self._counts[severity]} {_word(severity)}{'s' * (self._counts[severity] != 1)}"
            for severity in Severity
            if self._counts[severity]
        )


def _word(severity: Severity) -> str:
    return "remark" if severity is Severity.INFO else severity.value


def _rows(findings: Sequence[Finding]) -> tuple[Row, ...]:
    order = list(Severity)
    return tuple(
        Row(
            (
                _word(finding.severity),
                finding.structure,
                "" if finding.offset is None else f"{finding.offset:#x}",
                finding.message,
                REMEDIES[finding.code],
                _rule(finding),
            ),
            finding.severity.value,
        )
        for finding in sorted(findings, key=lambda one: order.index(one.severity))
    )


def _rule(finding: Finding) -> str:
    section = f"{'MS-VHDX ' * finding.section[0].isdigit()}{finding.section}, " if finding.section else ""
    return f"{section}{finding.code}"
