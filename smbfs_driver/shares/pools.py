"""Cinder's pools: one per share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from smbfs_driver.shares.shares import Share
from smbfs_driver.shares.unc import UncName
from vhdx.errors import Error


@dataclass(frozen=True, slots=True)
class Pool:
    """A share and its pool name in Cinder's scheduler."""

    name: str
    share: Share

    @property
    def address(self) -> str:
        """The address of the share."""
        return self.share.address


class Pools:
    """The pools of a backend. Raises Error for a mapping of an unknown share and for a name used by two shares."""

    def __init__(self, shares: Sequence[Share], mappings: Mapping[str, str]) -> None:
        named = {UncName.parse(address): name for address, name in mappings.items()}
        listed = {share.unc for share in shares}
        unlisted = sorted(address for address in mappings if UncName.parse(address) not in listed)
        if unlisted:
            raise Error(f"smbfs_pool_mappings: {', '.join(unlisted)} not in the list of shares")
        pools = [Pool(named.get(share.unc, share.share), share) for share in shares]
        names = [pool.name for pool in pools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Error(
                f"pool name {', '.join(twice)} is used by two shares; assign distinct names in smbfs_pool_mappings"
            )
        self._pools = tuple(pools)

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._pools)

    def named(self, name: str) -> Pool:
        """The pool with this name. Raises Error."""
        for pool in self._pools:
            if pool.name == name:
                return pool
        raise Error(f"unknown pool {name}; the pools are {', '.join(pool.name for pool in self._pools)}")

    def at(self, address: str) -> Pool:
        """The pool of the share at ``//server/share``. Raises Error if it is not in the list."""
        wanted = UncName.parse(address)
        for pool in self._pools:
            if pool.share.unc == wanted:
                return pool
        raise Error(f"{address}: not in the list of shares")
