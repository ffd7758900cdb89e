"""The file type identifier: signature and creator (MS-VHDX 2.2.1).

Written once at creation and never again.
"""

from dataclasses import dataclass

from construct import Bytes, Const, Struct

from vhdx.format.record import Record

SIGNATURE = b"vhdxfile"
OFFSET = 0


@dataclass(frozen=True, slots=True)
class FileIdentifier:
    """*creator* is 512 bytes of UTF-16LE, informative only."""

    creator: bytes

    @property
    def creator_text(self) -> str:
        """The creator as text; undecodable bytes become U+FFFD."""
        return self.creator.decode("utf-16-le", "replace").split("\0", 1)[0]


IDENTIFIER: Record[FileIdentifier] = Record(
    FileIdentifier,
    Struct("signature" / Const(SIGNATURE), "creator" / Bytes(512)),
    structure="file identifier",
    section="2.2.1",
)


def build(creator: str) -> bytes:
    """The identifier's bytes; *creator* is cut to 256 UTF-16 code units."""
    text = creator.encode("utf-16-le")[:510]
    return IDENTIFIER.build(FileIdentifier(text.ljust(512, b"\0")))
