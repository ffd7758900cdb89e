"""Pools: each share is one, by a name of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from smbfs_driver.shares.shares import Share, split_address
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
        named = _named(mappings)
        pools = [Pool(named.pop(_key(share.address), share.share), share) for share in shares]
        if named:
            raise Error(f"smbfs_pool_mappings names {', '.join(sorted(named))}, which the list of shares does not have")
        names = [pool.name for pool in pools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Error(f"two shares are the pool {', '.join(twice)}; give each a name in smbfs_pool_mappings")
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
        for pool in self._pools:
            if _key(pool.share.address) == _key(address):
                return pool
        raise Error(f"{address}: not in the list of shares")


def _key(address: str) -> str:
    parts = split_address(address)
    return address if parts is None else "//{}/{}".format(*parts).casefold()


def _named(mappings: Mapping[str, str]) -> dict[str, str]:
    return {_key(address): name for address, name in mappings.items()}
