"""Which share is which pool."""

import pytest

from smbfs_driver.shares.pools import Pools
from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes.managing import parse_reference
from smbfs_driver.volumes.names import DiskFormat
from vhdx.errors import Error
from vhdx.storage.credentials import Credentials

ACCOUNT = Credentials("cinder", "secret")
FIRST, SECOND = Share("files", "one", ACCOUNT), Share("files", "two", ACCOUNT)


def test_a_share_is_a_pool_of_its_own_name() -> None:
    pools = Pools([FIRST, SECOND], {})
    assert [pool.name for pool in pools] == ["one", "two"]
    assert pools.named("two").share is SECOND
    assert pools.at("//FILES/one").share is FIRST


def test_a_pool_may_have_another_name() -> None:
    pools = Pools([FIRST, SECOND], {"//files/ONE": "fast"})
    assert [pool.name for pool in pools] == ["fast", "two"]


@pytest.mark.parametrize(
    ("mappings", "reason"),
    [
        ({"//files/three": "x"}, "//files/three not in the list of shares"),
        ({"//files/one": "two"}, "pool name two is used by two shares"),
    ],
)
def test_names_that_do_not_fit_are_refused(mappings: dict[str, str], reason: str) -> None:
    with pytest.raises(Error, match=reason):
        Pools([FIRST, SECOND], mappings)


def test_what_is_not_there_is_refused_by_name() -> None:
    pools = Pools([FIRST], {})
    with pytest.raises(Error, match="unknown pool two; the pools are one"):
        pools.named("two")
    with pytest.raises(Error, match="//files/two: not in the list"):
        pools.at("//files/two")


@pytest.mark.parametrize(
    ("text", "address", "path"),
    [
        ("//files/one/a.vhdx", "//files/one", "a.vhdx"),
        ("\\\\files\\one\\old\\a.VHD", "//files/one", "old/a.VHD"),
        ("a.vhdx", "//home/share", "a.vhdx"),
        ("old/a.vhdx", "//home/share", "old/a.vhdx"),
    ],
)
def test_references(text: str, address: str, path: str) -> None:
    found = parse_reference(text, "//home/share")
    assert (found.address, found.path) == (address, path)
    assert found.format in DiskFormat


@pytest.mark.parametrize("text", [None, "", "//files", "//files/one", "//files/one/", "../a.vhdx", "a//b.vhdx", 7])
def test_references_that_lead_nowhere(text: object) -> None:
    with pytest.raises(Error, match="invalid reference"):
        parse_reference(text, "//home/share")


@pytest.mark.parametrize("text", ["a.qcow2", "a", "vhdx"])
def test_references_to_other_files(text: str) -> None:
    with pytest.raises(Error, match=r"must end with \.vhd or \.vhdx"):
        assert parse_reference(text, "//home/share").format
