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
    """What breaks a rule, or is worth knowing.

    *offset* is the place in the file in bytes, or None; *section* is the chapter of MS-VHDX, or another specification
    and its chapter; *file* is the full path or URL.
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
    """The finding of *code*; the table of rules knows the rest."""
    rule = CODES[code]
    return Finding(code, rule.severity, rule.structure, offset, message, rule.section)


def counted(number: int, noun: str) -> str:
    """*number* of something."""
    return f"{number} {noun}{'s' * (number != 1)}"


def limited(findings: Iterable[Finding], file: str) -> Iterator[Finding]:
    """*findings* with the name of their file, at most a hundred of each code; then how many were left out.

    The search itself ends when there are very many, so that no table of rubbish makes it long.
    """
    seen: Counter[str] = Counter()
    last: list[Finding] = []
    for number, finding in enumerate(findings):
        if number == MOST_OF_ALL:
            message = f"more than {MOST_OF_ALL} findings; the file was not looked through to its end"
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
