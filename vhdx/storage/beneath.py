"""Lexical check that a path stays below a directory."""

import posixpath

from vhdx.errors import LeadsOutside


def names_below(path: str, directory: str) -> list[str] | None:
    """The components of *path* relative to *directory*, lexically; None if it is not below.

    *path* must be normalised. Independent of the working directory.
    """
    root = posixpath.normpath(directory or ".")
    if root == ".":
        rest = "" if posixpath.isabs(path) else path
    else:
        start = root.rstrip("/") + "/"
        rest = path.removeprefix(start) if path.startswith(start) else ""
    names = rest.split("/")
    return None if rest in ("", ".") or names[0] == ".." else names


def outside(path: str, directory: str) -> LeadsOutside:
    """The error for a path that leads out of *directory*; it does not reveal whether the target exists."""
    return LeadsOutside(f"{path}: leads outside {directory or 'its directory'} and was not opened")
