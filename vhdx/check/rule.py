"""What a rule is, and how grave a breach of it."""

from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """How grave a finding is."""

    ERROR = "error"  # the format is broken: something refuses the file or reads it wrong
    WARNING = "warning"  # readers cope, but no careful writer leaves this
    INFO = "info"  # worth knowing, nothing is wrong


class Rule(NamedTuple):
    """One finding code; *section* is the chapter of MS-VHDX, or another specification and its chapter."""

    severity: Severity
    structure: str
    section: str
    meaning: str
