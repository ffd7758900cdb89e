"""Local files by path."""

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from vhdx.errors import Error
from vhdx.location.transport import Place, TransportMeans
from vhdx.storage.local import LocalFileSystem


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """A local file; *path* is absolute."""

    path: str

    @property
    def home(self) -> str:
        return "this machine"

    def text(self, path: str) -> str:
        """The location of another local path."""
        return path

    def reach(self, means: TransportMeans) -> Place:
        """The file system. Raises Error if credentials are given."""
        if means.auth is not None:
            raise Error(f"{self.path}: a local file requires no credentials; they are for smb:// URLs and UNC paths")
        # Rooted in the file's directory, so that `FileSystem.space` refers to that.
        return Place(self, LocalFileSystem(posixpath.dirname(self.path)), self.path)


def parse_path(path: str) -> LocalAddress:
    """Parse a path, which may be relative. Raises Error."""
    if "\0" in path:
        raise Error(f"{path!r}: invalid file name: contains a NUL")
    place = Path(path).absolute()
    # Paths are compared lexically later, and ``..`` after a symbolic link does not lead to the lexical parent.
    return LocalAddress(str(Path(os.path.realpath(place.parent), place.name) if ".." in place.parts else place))
