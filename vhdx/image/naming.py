"""Naming the file in what is wrong with its bytes."""

from collections.abc import Iterator
from contextlib import contextmanager

from vhdx.errors import FormatError, UnsupportedFeature


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the file's name into what the pure rules complain about."""
    try:
        yield
    except FormatError as error:
        error.file = error.file or name
        raise
    except UnsupportedFeature as error:
        if name in str(error):
            raise
        raise UnsupportedFeature(f"{name}: {error}") from None
