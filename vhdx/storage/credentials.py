"""Who logs on to a server."""

from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account; the password never shows in a representation.

    With *kerberos* the log-on takes a Kerberos ticket and nothing else: that of *username* where it is given, else the
    one that is there; the password may be empty. Where it is False, a name and a password in NTLM and nothing else;
    where it is None, whichever of both works. A *guest* has neither name nor password, and nothing is protected.
    """

    username: str
    password: str = field(repr=False)
    domain: str = ""
    kerberos: bool | None = None
    guest: bool = False

    @classmethod
    def of_guest(cls) -> Self:
        """Nobody in particular."""
        return cls("", "", guest=True)

    @property
    def account(self) -> str:
        """The name as the server wants it."""
        return f"{self.domain}\\{self.username}" if self.domain else self.username
