"""Keeping the places of an image for its readers."""

from typing import Protocol


class _Pinnable(Protocol):
    """A file that counts who reads it."""

    def pin(self, count: int) -> None: ...


class Pin:
    """While inside, no place that the table of a file has named is handed out again.

    Any number of readers may be inside at once. Not a generator: it is entered for every read.
    """

    __slots__ = ("_file",)

    def __init__(self, file: _Pinnable) -> None:
        self._file = file

    def __enter__(self) -> None:
        self._file.pin(1)

    def __exit__(self, *_: object) -> None:
        self._file.pin(-1)
