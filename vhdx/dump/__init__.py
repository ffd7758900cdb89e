"""Decodes every field of an image's structures, with its meaning and the findings of a check.

Made for damaged files: everything that can be decoded is shown. Nothing here writes.
"""

from vhdx.dump.file import dump_storage
from vhdx.dump.structure import DumpPart, Field, Structure

__all__ = ["Field", "DumpPart", "Structure", "dump_storage"]
