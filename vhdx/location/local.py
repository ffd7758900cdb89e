"""Files of this machine by their path."""

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from vhdx.errors import Error
from vhdx.location.transport import Place, TransportMeans
from vhdx.storage.local import LocalFileSystem


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """A file of this machine; *path* is absolute."""

    path: str

    @property
    def home(self) -> str:
        return "this machine"

    def text(self, path: str) -> str:
        """The location of another path on this machine."""
        return path

    def reach(self, means: TransportMeans) -> Place:
        """Its file system. Raises Error for credentials."""
        if means.auth is not None:
            raise Error(f"{self.path}: a file of this machine; credentials are for smb:// URLs and UNC paths")
        # What the file system says of free space is that of the file's own directory.
        return Place(self, LocalFileSystem(posixpath.dirname(self.path)), self.path)


def parse_path(path: str) -> LocalAddress:
    """The file at a path, which may be relative. Raises Error."""
    if "\0" in path:
        raise Error(f"{path!r}: no file can have this name, it contains a NUL")
    place = Path(path).absolute()
    # Paths are compared by their letters further in, and a .. behind a symbolic link leads elsewhere than it reads.
    return LocalAddress(str(Path(os.path.realpath(place.parent), place.name) if ".." in place.parts else place))
