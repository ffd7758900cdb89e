"""Volume types of one backend, and their end with the test."""

from uuid import uuid4

from tests.cinder.rest import Rest


class Types:
    """Volume types of the backend under test."""

    def __init__(self, rest: Rest, backend: str) -> None:
        self._rest = rest
        self._backend = backend
        self._made: list[str] = []

    def create(self, **specs: str) -> str:
        """One with these extra specs, by its id; colons are written as ``__``."""
        told = {name.replace("__", ":"): value for name, value in specs.items()}
        body = {"name": f"type-{uuid4()}", "extra_specs": {"volume_backend_name": self._backend, **told}}
        made: str = self._rest.volume("POST", "/types", {"volume_type": body})["volume_type"]["id"]
        self._made.append(made)
        return made

    def encrypt(self, kind: str) -> None:
        """Have the volumes of a type be encrypted."""
        body = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}
        self._rest.volume("POST", f"/types/{kind}/encryption", {"encryption": body})

    def clear(self) -> None:
        """Delete them."""
        for kind in self._made:
            self._rest.volume("DELETE", f"/types/{kind}")
