"""SMB 2 and 3 dialects (MS-SMB2 2.2.3). SMB 1 is a different protocol and not supported."""

from enum import IntEnum


class Dialect(IntEnum):
    """A DialectRevision; newer ones are larger."""

    SMB_2_0_2 = 0x0202
    SMB_2_1 = 0x0210
    SMB_3_0 = 0x0300
    SMB_3_0_2 = 0x0302
    SMB_3_1_1 = 0x0311

    @property
    def label(self) -> str:
        """The usual notation: ``3.0.2``."""
        return self.name.removeprefix("SMB_").replace("_", ".")

    @property
    def encrypts(self) -> bool:
        """Whether it supports encryption."""
        return self >= Dialect.SMB_3_0


OLDEST_BY_DEFAULT = Dialect.SMB_3_0
NEWEST = Dialect.SMB_3_1_1


def span(minimum: Dialect, maximum: Dialect) -> str:
    """A range of dialects, for messages."""
    if minimum == maximum:
        return f"SMB {minimum.label}"
    return f"SMB {minimum.label} or newer" if maximum == NEWEST else f"SMB {minimum.label} to {maximum.label}"
