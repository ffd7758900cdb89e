"""Pools: each share is one, by a name of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from smbfs_driver.shares.shares import Share
from smbfs_driver.shares.unc import UncName
from vhdx.errors import Error


@dataclass(frozen=True, slots=True)
class Pool:
    """One share under the name by which Cinder's scheduler knows it."""

    name: str
    share: Share

    @property
    def address(self) -> str:
        """The address of the share."""
        return self.share.address


class Pools:
    """The pools of a backend. Raises Error for names that do not fit the shares, or that two shares have."""

    def __init__(self, shares: Sequence[Share], mappings: Mapping[str, str]) -> None:
        named = {UncName.parse(address): name for address, name in mappings.items()}
        listed = {share.unc for share in shares}
        unlisted = sorted(address for address in mappings if UncName.parse(address) not in listed)
        if unlisted:
            raise Error(f"smbfs_pool_mappings names {', '.join(unlisted)}, which the list of shares does not have")
        pools = [Pool(named.get(share.unc, share.share), share) for share in shares]
        names = [pool.name for pool in pools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Error(f"pool name {', '.join(twice)} is used by two shares; give each a name in smbfs_pool_mappings")
        self._pools = tuple(pools)

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._pools)

    def named(self, name: str) -> Pool:
        """The pool of that name. Raises Error."""
        for pool in self._pools:
            if pool.name == name:
                return pool
        raise Error(f"there is no pool {name}; there are {', '.join(pool.name for pool in self._pools)}")

    def at(self, address: str) -> Pool:
        """The pool of the share at ``//server/share``. Raises Error for one that is not listed."""
        wanted = UncName.parse(address)
        for pool in self._pools:
            if pool.share.unc == wanted:
                return pool
        raise Error(f"{address}: not in the list of shares")
