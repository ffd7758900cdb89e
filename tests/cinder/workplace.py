"""The directory that holds everything of one run: configuration, data, logs, shares."""

import random
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

_TEMPLATES = Path(__file__).parent / "templates"
_SERVICES = ("volume", "image", "identity", "database", "broker", "distribution", "mapper", "cache", "locks")
LONGEST_PATH = 80
"""Characters: sockets in it must have names of at most 107."""


def _free_ports() -> dict[str, int]:
    """Loopback ports below the range that outgoing connections draw from."""
    held: dict[str, socket.socket] = {}
    try:
        while len(held) < len(_SERVICES):
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", random.randrange(20000, 32000)))
            except OSError:
                probe.close()
                continue
            held[_SERVICES[len(held)]] = probe
        return {name: probe.getsockname()[1] for name, probe in held.items()}
    finally:
        for probe in held.values():
            probe.close()


@dataclass(frozen=True, slots=True)
class Workplace:
    """A directory of this run's own, its ports by service, and the password of all its accounts."""

    home: Path
    ports: dict[str, int] = field(default_factory=_free_ports)
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    mark: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        if len(str(self.home)) > LONGEST_PATH or " " in str(self.home):
            raise ValueError(f"{self.home}: at most {LONGEST_PATH} characters and no spaces, please")
        self.home.chmod(0o700)
        for name in ("etc", "state/home", "log", "run", "shares"):
            (self.home / name).mkdir(parents=True)

    @property
    def etc(self) -> Path:
        """Configuration."""
        return self.home / "etc"

    @property
    def state(self) -> Path:
        """Data of the services."""
        return self.home / "state"

    @property
    def logs(self) -> Path:
        """What the processes say."""
        return self.home / "log"

    @property
    def records(self) -> Path:
        """Which processes there are."""
        return self.home / "run"

    @property
    def shares(self) -> Path:
        """The directories that Samba serves."""
        return self.home / "shares"

    def url(self, service: str) -> str:
        """Where a service with an HTTP interface is."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def database(self, name: str) -> str:
        """How a service connects to its database."""
        return f"mysql+pymysql://os:{self.password}@127.0.0.1:{self.ports['database']}/{name}"

    def render(self, template: str, **values: str) -> Path:
        """A template as a file in `etc`, which only its owner can read."""
        common = {
            "home": str(self.home),
            "etc": str(self.etc),
            "state": str(self.state),
            "password": self.password,
            "identity": self.url("identity"),
            "cache": f"127.0.0.1:{self.ports['cache']}",
        }
        text = Template((_TEMPLATES / template).read_text()).substitute(common, **values)
        target = self.etc / template
        target.touch(mode=0o600)
        target.write_text(text)
        return target
