"""Who logs on to a server."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account; the password never shows in a representation."""

    username: str
    password: str = field(repr=False)
    domain: str = ""

    @property
    def account(self) -> str:
        """The name as the server wants it."""
        return f"{self.domain}\\{self.username}" if self.domain else self.username
