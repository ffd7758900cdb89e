"""JSON output for findings."""

from typing import Any

from vhdx.check import Finding
from vhdx.check.remedies import REMEDIES


def finding_json(finding: Finding) -> dict[str, Any]:
    """The documented keys of a finding."""
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "file": finding.file,
        "structure": finding.structure,
        "offset": finding.offset,
        "message": finding.message,
        "section": finding.section,
        "remedy": REMEDIES[finding.code],
    }
