"""Findings for the page: an outcome, and tables by file, most severe first."""

from collections import Counter
from collections.abc import Iterable, Sequence

from vhdx.check import Finding, Severity
from vhdx.check.remedies import REMEDIES
from vhdx.cli.pictures.page import PageOutcome, PageTable, Row
from vhdx.errors import Error

_COLUMNS = ("Severity", "Structure", "Offset", "Finding", "Remedy", "Rule")
_MOST = 300
"""Number of findings of each severity on the page; a check of one file reports up to a hundred of each code."""


class Findings:
    """Collects a bounded number of findings: a malicious chain may have millions. *name* is the leaf's file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kept: list[Finding] = []
        self._counts: Counter[Severity] = Counter()
        self._stopped = ""

    def collect(self, found: Iterable[Finding]) -> None:
        """Collect findings; an aborted check is noted on the page. Raises OSError when the transport fails."""
        try:
            for finding in found:
                self._counts[finding.severity] += 1
                if self._counts[finding.severity] <= _MOST:
                    self._kept.append(finding)
        except (Error, PermissionError) as error:
            self._stopped = str(error)

    @property
    def verdict(self) -> PageOutcome:
        """The outcome for the image."""
        if self._counts[Severity.ERROR]:
            return PageOutcome("bad", "damaged", self._counted())
        if self._stopped:
            return PageOutcome("none", "not checked", f"the check could not be completed: {self._stopped}")
        if self._counts[Severity.WARNING]:
            return PageOutcome("poor", "readable, with warnings", self._counted())
        return PageOutcome("good", "clean", self._counted() or "no violations of the format")

    @property
    def note(self) -> str:
        """The text before the tables."""
        if self._stopped:
            return f"The check could not be completed: {self._stopped}"
        return f"{self._counted()}." if self._kept else "No findings for the image and its parents."

    def tables(self) -> list[PageTable]:
        """One table for each file."""
        by_file: dict[str, list[Finding]] = {self._name: []}
        for finding in self._kept:
            by_file.setdefault(finding.file or self._name, []).append(finding)
        tables = [PageTable(name, _COLUMNS, _rows(findings)) for name, findings in by_file.items() if findings]
        left = self._counts.total() - len(self._kept)
        if left:
            tables.append(PageTable("Omitted", _COLUMNS, (), left_out=f"{left} more findings are not shown."))
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
