"""A rule of a check and its severity."""

from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """Severity of a finding."""

    ERROR = "error"  # violates the format: some programs refuse the file or misread it
    WARNING = "warning"  # readers tolerate it, but no correct writer creates it
    INFO = "info"  # nothing is wrong


class Rule(NamedTuple):
    """One finding code; *section* is a section of MS-VHDX, or another specification and its section."""

    severity: Severity
    structure: str
    section: str
    meaning: str
