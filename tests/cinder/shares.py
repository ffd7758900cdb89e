"""What lies on the shares, and what a guest of a volume would see: its bytes, over SMB."""

import json
from pathlib import Path

import vhdx
from tests.cinder.cloud import Cloud
from vhdx import Disk, SmbPool


class Shares:
    """The shares of a cloud. Looked at as directories, opened as a guest's host would open them."""

    def __init__(self, cloud: Cloud, pool: SmbPool) -> None:
        self._cloud = cloud
        self._pool = pool

    def files(self) -> set[str]:
        """All of them, as ``share/name``."""
        return {f"{name}/{path.name}" for name in self._cloud.shares for path in self.directory(name).iterdir()}

    def files_of(self, volume: str) -> set[str]:
        """Those that belong to a volume."""
        return {file for file in self.files() if volume in file}

    def directory(self, share: str) -> Path:
        """Where its files are on this machine."""
        return Path(self._cloud.shares[share])

    def share_of(self, volume: str) -> str:
        """The share that a volume is on."""
        (share,) = {file.partition("/")[0] for file in self.files_of(volume)}
        return share

    def active(self, volume: str) -> str:
        """The file that a guest would write to, as ``share/name``."""
        share = self.share_of(volume)
        (base,) = (path for path in self.directory(share).iterdir() if path.stem == f"volume-{volume}")
        info = base.with_name(f"{base.name}.info")
        name = json.loads(info.read_text())["active"] if info.exists() else base.name
        return f"{share}/{name}"

    def open(self, volume: str, *, writable: bool = False) -> Disk:
        """The disk of a volume."""
        cloud = self._cloud
        location = f"smb://{cloud.user}@{cloud.server}:{cloud.port}/{self.active(volume)}"
        auth = vhdx.Credentials(cloud.user, cloud.share_password)
        return vhdx.open(location, writable=writable, auth=auth, pool=self._pool)

    def write(self, volume: str, offset: int, data: bytes) -> None:
        """What a guest would write."""
        with self.open(volume, writable=True) as disk:
            disk.write(offset, data)
            disk.flush()

    def read(self, volume: str, offset: int, length: int) -> bytes:
        """What a guest would read."""
        with self.open(volume) as disk:
            return disk.read(offset, length)

    def size(self, volume: str) -> int:
        """Bytes that a guest would see."""
        with self.open(volume) as disk:
            return disk.size
