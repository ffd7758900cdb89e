"""One repair, and what is known of the file while it is planned."""

from collections.abc import Callable
from dataclasses import dataclass, field

from vhdx.chain.parents import ParentPolicy
from vhdx.image.base import ImageFormat, NewId
from vhdx.storage.base import FileSystem, Storage


@dataclass(frozen=True, slots=True)
class Fix:
    """What is wrong, as a check calls it by *code*, and what is done about it; *offset* is in bytes, or None.

    *apply* does it; stopped in the middle it can be done again. Two fixes are equal when they say the same.
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
    """The file under repair and what stands around it.

    *told* says that the format was named by the caller, not recognised by content, which a guest may have written;
    *reclaim* that space which nothing refers to is given back.
    """

    files: FileSystem
    path: str
    format: ImageFormat
    new_id: NewId
    policy: ParentPolicy
    told: bool
    reclaim: bool
