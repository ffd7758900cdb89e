"""A cloud that runs: where its services are, and what the tests have to know of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

VARIABLE = "VHDX_CINDER_CLOUD"
"""Names the file that describes the cloud to the tests; without it they are not collected."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Addresses, the administrator's password, and the directories behind the shares by share."""

    home: str
    identity: str
    volume: str
    image: str
    password: str
    shares: dict[str, str]
    user: str
    server: str
    port: int
    share_password: str

    def save(self, path: Path) -> None:
        """For its owner only."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote."""
        return cls(**json.loads(path.read_text()))
