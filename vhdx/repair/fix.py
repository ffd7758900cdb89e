"""One fix, and the context in which fixes are planned."""

from collections.abc import Callable
from dataclasses import dataclass, field

from vhdx.chain.parents import ParentPolicy
from vhdx.image.base import ImageFormat, NewId
from vhdx.storage.base import FileSystem, Storage


@dataclass(frozen=True, slots=True)
class Fix:
    """One defect, by its finding *code*, and its fix; *offset* is the file offset in bytes, or None.

    *apply* makes the change; it can be repeated after an interruption. Equality ignores *apply*.
    """

    code: str
    structure: str
    offset: int | None
    message: str
    apply: Callable[[Storage], None] = field(compare=False, repr=False)

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at offset {self.offset}"
        return f"{self.structure}{where}: {self.message} [{self.code}]"


@dataclass(frozen=True, slots=True)
class Case:
    """The file under repair and its context.

    *told*: the caller named the format, so it does not depend on content that a guest may have written. *reclaim*: free
    unreferenced space.
    """

    files: FileSystem
    path: str
    format: ImageFormat
    new_id: NewId
    policy: ParentPolicy
    told: bool
    reclaim: bool
