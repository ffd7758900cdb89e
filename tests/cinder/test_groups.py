"""Groups: snapshots of one moment, groups made of them, and their end."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Failed, Volumes
from tests.cinder.waiting import until

ONE, TWO = b"1" * 512, b"2" * 512


class Groups:
    """Groups of the backend under test."""

    def __init__(self, rest: Rest, volumes: Volumes, specs: dict[str, str]) -> None:
        self._rest = rest
        self._volumes = volumes
        body = {"group_type": {"name": f"group-{uuid4()}", "group_specs": specs}}
        self.type = rest.volume("POST", "/group_types", body)["group_type"]["id"]

    def create(self) -> str:
        """An empty one."""
        body = {"group": {"group_type": self.type, "volume_types": [self._volumes.backend], "name": "test"}}
        return self._reached("groups", self._rest.volume("POST", "/groups", body)["group"]["id"])

    def copy(self, **source: str) -> str:
        """One made of a group or of a snapshot of one; its volumes are deleted at the end."""
        body = {"create-from-src": {"name": "copy", **source}}
        ident = self._rest.volume("POST", "/groups/action", body)["group"]["id"]
        self._reached("groups", ident)
        for volume in self.volumes(ident):
            self._volumes.adopt(volume)
        return str(ident)

    def volumes(self, group: str) -> list[str]:
        """The volumes in a group."""
        found = self._rest.volume("GET", f"/volumes/detail?group_id={group}")["volumes"]
        return [volume["id"] for volume in found]

    def snapshot(self, group: str) -> str:
        """A snapshot of a group."""
        body = {"group_snapshot": {"group_id": group, "name": "test"}}
        made = self._rest.volume("POST", "/group_snapshots", body)["group_snapshot"]["id"]
        try:
            return self._reached("group_snapshots", made)
        except Failed:
            self.delete_snapshot(made)
            raise

    def delete_snapshot(self, snapshot: str) -> None:
        """A snapshot of a group."""
        self._rest.volume("DELETE", f"/group_snapshots/{snapshot}")
        until(lambda: self._status("group_snapshots", snapshot) is None, f"group snapshot {snapshot} is gone")

    def delete(self, group: str) -> None:
        """A group with its volumes."""
        gone = self.volumes(group)
        self._rest.volume("POST", f"/groups/{group}/action", {"delete": {"delete-volumes": True}})
        until(lambda: self._status("groups", group) is None, f"group {group} is gone")
        for volume in gone:
            self._volumes.forget(volume)

    def _status(self, kind: str, ident: str) -> str | None:
        found: list[Any] = self._rest.volume("GET", f"/{kind}/detail")[kind]
        return next((one["status"] for one in found if one["id"] == ident), None)

    def _reached(self, kind: str, ident: str) -> str:
        until(lambda: self._status(kind, ident) in ("available", "error"), f"{kind} {ident} is available")
        if self._status(kind, ident) != "available":
            raise Failed(f"{kind} {ident} is not available")
        return ident

    def clear(self) -> None:
        """Delete the type."""
        self._rest.volume("DELETE", f"/group_types/{self.type}")


@pytest.fixture(params=["consistent", "generic"])
def groups(request: pytest.FixtureRequest, rest: Rest, volumes: Volumes) -> Iterator[Groups]:
    """Groups of both kinds."""
    specs = {"consistent_group_snapshot_enabled": "<is> True"} if request.param == "consistent" else {}
    made = Groups(rest, volumes, specs)
    yield made
    made.clear()


def test_a_group_has_snapshots_and_copies(groups: Groups, volumes: Volumes, shares: Shares) -> None:
    group = groups.create()
    members = [volumes.create(group_id=group) for _ in range(3)]
    for member in members:
        shares.write(member, 0, ONE)
    snapshot = groups.snapshot(group)
    for member in members:
        shares.write(member, 0, TWO)
        assert len([file for file in shares.files_of(member) if not file.endswith(".info")]) == 2
    of_snapshot = groups.copy(group_snapshot_id=snapshot)
    of_group = groups.copy(source_group_id=group)
    assert [shares.read(volume, 0, 512) for volume in groups.volumes(of_snapshot)] == [ONE] * 3
    assert [shares.read(volume, 0, 512) for volume in groups.volumes(of_group)] == [TWO] * 3
    groups.delete_snapshot(snapshot)
    for member in members:
        assert len([file for file in shares.files_of(member) if not file.endswith(".info")]) == 1
        assert shares.read(member, 0, 512) == TWO
    for one in (of_group, of_snapshot, group):
        groups.delete(one)


def test_a_group_with_an_attached_volume_has_no_snapshot(groups: Groups, volumes: Volumes, shares: Shares) -> None:
    group = groups.create()
    members = [volumes.create(group_id=group) for _ in range(2)]
    attachment, _ = volumes.attach(members[1])
    before = shares.active(members[0])
    with pytest.raises(Failed):
        groups.snapshot(group)
    volumes.detach(members[1], attachment)
    assert shares.active(members[0]) == before
    groups.delete(group)
