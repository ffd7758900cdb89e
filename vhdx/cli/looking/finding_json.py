"""A finding in JSON, as subcommands share it: the documented keys."""

from typing import Any

from vhdx.check import Finding
from vhdx.check.remedies import REMEDIES


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding with all that is known of it."""
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
