"""Who logs on to a server."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account; the password never shows in a representation.

    With *kerberos* the log-on takes a Kerberos ticket and nothing else: that of *username* where it is given, else the
    one that is there; the password may be empty.
    """

    username: str
    password: str = field(repr=False)
    domain: str = ""
    kerberos: bool = False

    @property
    def account(self) -> str:
        """The name as the server wants it."""
        return f"{self.domain}\\{self.username}" if self.domain else self.username
