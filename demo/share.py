"""Where the demo's volumes live: a share of a private Samba, or a plain directory where there is none."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.smbd import Smbd, unavailable
from vhdx import Credentials, LocalFileSystem, SmbPool
from vhdx.storage.base import FileSystem


@dataclass(frozen=True)
class Place:
    """A share as the engine sees it, and the directory in which this machine sees the same files."""

    files: FileSystem
    directory: Path
    pool: SmbPool | None

    def wire(self) -> int | None:
        """Bytes that crossed the wire so far; None where there is no wire."""
        return None if self.pool is None else self.pool.wire().total


@contextmanager
def some_share() -> Iterator[Place]:
    """A share to try things on; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="vhdx-demo-") as temporary:
        directory = Path(temporary)
        reason = unavailable()
        if reason:
            print(f"No Samba ({reason}): the volumes live in a local directory, nothing crosses a wire.\n")
            yield Place(LocalFileSystem(str(directory)), directory, None)
            return
        with Smbd() as server, SmbPool() as pool:
            server.add_share("volumes", directory)
            credentials = Credentials(server.user, server.password)
            files = pool.share(server.host, "volumes", port=server.port, credentials=credentials)
            print(f"The volumes live on {files.describe('')}, served by a private Samba as {server.user}.\n")
            yield Place(files, directory, pool)
