"""Three virtual environments with the exact versions that requirements/ lists, each made once."""

import hashlib
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
PRODUCT = f"{PROJECT}[driver]"
NAMES = ("cinder", "identity", "tempest")


@dataclass(frozen=True, slots=True)
class Environments:
    """A directory with one environment for Cinder and the driver, one for Keystone and Glance, one for Tempest."""

    home: Path

    @property
    def cinder(self) -> Path:
        """Cinder, the driver (as it is in the checkout) and pytest."""
        return self.home / "cinder"

    @property
    def identity(self) -> Path:
        """Keystone and Glance."""
        return self.home / "identity"

    @property
    def tempest(self) -> Path:
        """Tempest."""
        return self.home / "tempest"

    def provide(self) -> None:
        """Make those that are not there or that are out of date. Raises RuntimeError with the end of pip's words."""
        began = time.monotonic()
        self.home.mkdir(parents=True, exist_ok=True)
        runs = {name: self._begin(name) for name in NAMES if not self._is_current(name)}
        for name, run in runs.items():
            if run.wait():
                words = self._log(name).read_text(errors="replace").splitlines()
                raise RuntimeError("\n".join([*words[-20:], f"{self.home / name} could not be made"]))
            self._stamp(name).write_text(_wanted(name))
        if runs:
            print(f"environments {', '.join(runs)}: {time.monotonic() - began:.0f} s", flush=True)

    def _begin(self, name: str) -> subprocess.Popen[bytes]:
        """Make one, in a process of its own."""
        self._stamp(name).unlink(missing_ok=True)
        shutil.rmtree(self.home / name, ignore_errors=True)
        with self._log(name).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", __file__, name, str(self.home / name)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _is_current(self, name: str) -> bool:
        stamp = self._stamp(name)
        return stamp.exists() and stamp.read_text() == _wanted(name)

    def _stamp(self, name: str) -> Path:
        return self.home / f"{name}.installed"

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"


def _requirements(name: str) -> Path:
    return HERE / "requirements" / f"{name}.txt"


def _wanted(name: str) -> str:
    """What changes when an environment has to be made anew."""
    sources = [sys.version.encode(), str(PROJECT).encode(), _requirements(name).read_bytes()]
    if name == "cinder":
        sources.append((PROJECT / "pyproject.toml").read_bytes())
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


def _make(name: str, place: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
    listed = str(_requirements(name))
    subprocess.run([*pip, "-r", listed], check=True)
    if name == "cinder":
        subprocess.run([*pip, "-c", listed, "-e", PRODUCT], check=True)


if __name__ == "__main__":
    _make(sys.argv[1], Path(sys.argv[2]))
