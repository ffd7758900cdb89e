"""Errors of images and requests.

`Error` and its kinds mean that the bytes or the request are wrong. `OSError` means that the transport failed.
Any other exception that escapes this package is a bug in it.
"""

from collections.abc import Sequence


class Error(Exception):
    """The bytes or the request are wrong; the message names the file and says what to do."""


class FormatError(Error):
    """A structure breaks a rule of its format.

    *offset* is the structure's place in the file in bytes, or None where it has none; *section* is the chapter of
    MS-VHDX that holds the rule, or another specification and its chapter. *file* is filled in by the layer that knows
    it.
    """

    def __init__(
        self, structure: str, offset: int | None, reason: str, section: str = "", *, file: str | None = None
    ) -> None:
        super().__init__(structure, offset, reason, section)
        self.structure = structure
        self.offset = offset
        self.reason = reason
        self.section = section
        self.file = file

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at offset {self.offset}"
        rule = f" ({'MS-VHDX ' * self.section[0].isdigit()}{self.section})" if self.section else ""
        file = f"{self.file}: " if self.file else ""
        return f"{file}{self.structure}{where}: {self.reason}{rule}"


class UnsupportedFeature(Error):
    """The image is sound as far as we can tell, but requires a feature that this engine does not support."""


class ParentNotFound(Error):
    """No file that may be opened is the parent of *child*; *tried* lists the candidates and why each was rejected."""

    def __init__(self, child: str, tried: Sequence[str]) -> None:
        super().__init__(child, tuple(tried))
        self.child = child
        self.tried = tuple(tried)

    def __str__(self) -> str:
        tried = "; ".join(self.tried) or "the image records no usable path"
        return f"{self.child}: the parent was not found ({tried})"


class ParentMismatch(Error):
    """The file at the parent's path is not the recorded parent, or was modified."""


class LeadsOutside(Error):
    """A path leads out of the directory that it must stay in; the file that it leads to was not opened."""


class WrongParent(Error):
    """A file that an image was not made over was to be recorded as its parent; nothing was changed."""


class Unrecognised(FormatError):
    """The file carries the marks of no format, or of two: the caller has to say which it is."""


class AnotherFormat(Unrecognised):
    """The file looks like an image or archive of a kind that this engine does not read."""


class HasChildren(Error):
    """The change would break other images, which have the file as their parent; nothing was changed."""


class WouldLoseData(Error):
    """The disk would become smaller, and that, or the data there, has to be given up expressly; nothing was changed."""


class UnequalSizes(Error):
    """A differencing VHD would have another size than its parent, and that was not asked for; nothing was changed."""


class ReadOnly(Error):
    """A change was asked of something that was opened for reading."""


class InUse(Error):
    """Somebody else has the file open in a way that excludes this use."""


class OutOfSpace(Error):
    """The disk or share is full."""


class Cancelled(Error):
    """The caller's progress function asked to stop; everything up to the last flush stands."""


class Poisoned(Error):
    """An earlier failure left it unknown what reached the disk; close the image and open it again."""
