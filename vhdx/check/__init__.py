"""Checks a file, or a chain of files, against the rules of its format and reports all violations, not only the first.

Checks never write. Invalid bytes are findings, never exceptions; a failing transport raises OSError.
"""

from vhdx.check.chain import check_chain, check_forced
from vhdx.check.file import check_storage
from vhdx.check.finding import Finding
from vhdx.check.rule import Rule, Severity
from vhdx.check.rules import CODES

__all__ = ["CODES", "Finding", "Rule", "Severity", "check_chain", "check_forced", "check_storage"]
