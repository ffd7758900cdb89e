"""What a dump is made of: parts that can be asked for, their structures, the fields of those."""

from dataclasses import dataclass
from enum import StrEnum

from vhdx.check import Finding

Value = str | int | bool | None


class DumpPart(StrEnum):
    """What can be asked for."""

    HEADERS = "headers"
    REGIONS = "regions"
    METADATA = "metadata"
    BAT = "bat"
    BITMAP = "bitmap"
    LOG = "log"
    LOCATOR = "locator"
    FOOTER = "footer"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: *raw* are the bytes at *offset* of the file, *value* what they say, *meaning* a phrase about that.

    Where a field stands for many entries of a table that say the same, *raw* is the first of them.
    """

    name: str
    offset: int
    raw: bytes
    value: Value
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure, or a piece of a long one, at *offset* of the file; *note* says what is to be known of the whole.

    *offset* is None for what is nowhere. *lost* when it should be there, but damage to something else hides it.
    """

    part: DumpPart
    name: str
    offset: int | None = None
    length: int = 0
    fields: tuple[Field, ...] = ()
    note: str = ""
    findings: tuple[Finding, ...] = ()
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A structure before its findings are known: those of a check about what it *takes*, by the check's names.

    *anywhere* when their offset does not matter. *needs* are the parts whose damage may be the reason why it is empty.
    """

    structure: Structure
    takes: tuple[str, ...] = ()
    anywhere: bool = False
    needs: tuple[DumpPart, ...] = ()


def absent(
    part: DumpPart,
    name: str,
    note: str,
    *,
    takes: tuple[str, ...] = (),
    needs: tuple[DumpPart, ...] = (),
    lost: bool = False,
) -> Draft:
    """What is not there, and why; with *needs* it is lost, because of what may be wrong there."""
    structure = Structure(part, name, note=note, lost=lost or bool(needs))
    return Draft(structure, takes, anywhere=True, needs=needs)
