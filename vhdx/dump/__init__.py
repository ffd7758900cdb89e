"""Every field of an image's structures as it stands in the file, what it means, and what a check says of it.

Damaged files are what this is for: what can be decoded is shown, field by field, and nothing here writes.
"""

from vhdx.dump.file import dump_storage
from vhdx.dump.structure import DumpPart, Field, Structure

__all__ = ["Field", "DumpPart", "Structure", "dump_storage"]
