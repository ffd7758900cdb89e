r"""UNC name of a share: ``//server/share``, on Windows ``\\server\share`` (MS-DTYP 2.2.57)."""

import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"//(?P<server>[^/\s]+)/(?P<share>[^/]+)/?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, eq=False)
class UncName:
    """A server and a share on it; compared ignoring case, as servers do."""

    server: str
    share: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        r"""Parse ``//server/share`` or ``\\server\share``, with ``\040`` for a space; None if invalid."""
        found = _FORM.fullmatch(text.replace("\\040", " ").replace("\\", "/"))
        return None if found is None or _CONTROL.search(text) else cls(found["server"], found["share"])

    def __str__(self) -> str:
        return f"//{self.server}/{self.share}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UncName) and self._folded == other._folded

    def __hash__(self) -> int:
        return hash(self._folded)

    @property
    def _folded(self) -> tuple[str, str]:
        return self.server.casefold(), self.share.casefold()
