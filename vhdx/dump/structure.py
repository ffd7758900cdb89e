"""Elements of a dump: parts, structures, fields."""

from dataclasses import dataclass
from enum import StrEnum

from vhdx.check import Finding

Value = str | int | bool | None


class DumpPart(StrEnum):
    """Parts that can be requested."""

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
    """One field: *raw* holds the bytes at file offset *offset*, *value* is decoded, *meaning* explains it.

    If a field represents a run of table entries, *raw* is the first of them.
    """

    name: str
    offset: int
    raw: bytes
    value: Value
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure, or a piece of a long one, at file offset *offset*; *note* is about the whole structure.

    *offset* is None if there is no such structure. *lost*: damage to another structure prevents reading it.
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
    """A structure to which findings will be attached: those about the structure names in *takes*.

    *anywhere*: at any offset. *needs* are the parts whose damage may be the reason why it is empty.
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
    """A structure that is missing, and why; with *needs* it is lost, because those parts may be damaged."""
    structure = Structure(part, name, note=note, lost=lost or bool(needs))
    return Draft(structure, takes, anywhere=True, needs=needs)
