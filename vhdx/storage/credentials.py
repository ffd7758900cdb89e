"""Credentials for a server."""

from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account; the password is not part of the repr.

    *kerberos* True: Kerberos only, with the ticket of *username*, or the ticket in the default credential cache if that
    is empty; *password* may be empty. False: NTLM only. None: Kerberos or NTLM, as negotiated. A *guest* has neither
    name nor password; its messages are neither signed nor encrypted.
    """

    username: str
    password: str = field(repr=False)
    domain: str = ""
    kerberos: bool | None = None
    guest: bool = False

    @classmethod
    def of_guest(cls) -> Self:
        """Log on as guest."""
        return cls("", "", guest=True)

    @property
    def account(self) -> str:
        """``DOMAIN\\user``, or *username* without a domain."""
        return f"{self.domain}\\{self.username}" if self.domain else self.username
