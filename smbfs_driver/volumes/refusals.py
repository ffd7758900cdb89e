"""Errors of requests that no share can fulfil, and of foreign images that must not become volumes."""

import contextlib
from collections.abc import Iterator

from vhdx.errors import Error, FormatError, InUse, OutOfSpace, ParentMismatch, ParentNotFound, UnsupportedFeature

_OF_CONTENT = (FormatError, ParentMismatch, ParentNotFound, UnsupportedFeature)
"""Errors of the content that an engine reads."""


class Refused(Error):
    """No share can fulfil the request; another one would fail as well."""


class BadImage(Refused):
    """A foreign image is damaged, has a parent, or its hash differs."""


class ImageTooLarge(Refused):
    """The disk of a foreign image is larger than the volume."""


@contextlib.contextmanager
def judging_image() -> Iterator[None]:
    """Translate errors of the content of a foreign image into BadImage."""
    try:
        yield
    except _OF_CONTENT as error:
        raise BadImage(str(error)) from error


@contextlib.contextmanager
def judging_source(passed: type[Error]) -> Iterator[None]:
    """Translate errors of the source of a copy into Refused, except InUse, OutOfSpace and *passed*."""
    try:
        yield
    except (InUse, OutOfSpace, passed):
        raise
    except Error as error:
        raise Refused(str(error)) from error
