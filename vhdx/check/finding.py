"""A finding of a check, and limits on how many are reported."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from vhdx.check.rule import Severity
from vhdx.check.rules import CODES

MOST_OF_A_CODE = 100
MOST_OF_ALL = 100_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule violation, or a note.

    *offset* is the file offset in bytes, or None; *section* is a section of MS-VHDX, or another specification and its
    section; *file* is the full path or URL.
    """

    code: str
    severity: Severity
    structure: str
    offset: int | None
    message: str
    section: str
    file: str = ""

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at offset {self.offset}"
        rule = f" ({'MS-VHDX ' * self.section[0].isdigit()}{self.section})" if self.section else ""
        file = f"{self.file}: " if self.file else ""
        return f"{file}{self.severity.value}: {self.structure}{where}: {self.message}{rule} [{self.code}]"


def found(code: str, offset: int | None, message: str) -> Finding:
    """The finding of *code*; severity, structure and section come from the table of rules."""
    rule = CODES[code]
    return Finding(code, rule.severity, rule.structure, offset, message, rule.section)


def counted(number: int, noun: str) -> str:
    """*number* and *noun*, in the plural unless *number* is 1."""
    return f"{number} {noun}{'s' * (number != 1)}"


def limited(findings: Iterable[Finding], file: str) -> Iterator[Finding]:
    """*findings* with the name of their file, at most a hundred of each code; then the number omitted.

    The check itself stops after very many findings, so that a table of garbage does not make it long.
    """
    seen: Counter[str] = Counter()
    last: list[Finding] = []
    for number, finding in enumerate(findings):
        if number == MOST_OF_ALL:
            message = f"more than {MOST_OF_ALL} findings; the check was not completed"
            last.append(found("check-given-up", None, message))
            break
        seen[finding.code] += 1
        if seen[finding.code] <= MOST_OF_A_CODE:
            yield replace(finding, file=file)
    for code, count in seen.items():
        if count > MOST_OF_A_CODE:
            message = f"{count - MOST_OF_A_CODE} more findings of {code} are not listed"
            yield replace(found("findings-left-out", None, message), file=file)
    yield from (replace(finding, file=file) for finding in last)
