"""Names that stay in a directory, by their letters."""

import posixpath

from vhdx.errors import LeadsOutside


def names_below(path: str, directory: str) -> list[str] | None:
    """The names that lead from *directory* down to *path*, by their letters alone; None where none do.

    *path* is normalised. No working directory comes into it.
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
    """The error for a path that leads out of *directory*; it says nothing of what is there."""
    return LeadsOutside(f"{path}: leads out of {directory or 'its directory'} and was not opened")
