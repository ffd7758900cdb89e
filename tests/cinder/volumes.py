"""Volumes and snapshots of one backend, through Cinder's REST interface, and their end with the test."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.cinder.nodes import place, pool_of
from tests.cinder.rest import Refused, Rest
from tests.cinder.waiting import until

_PATIENCE = 90.0
_CONNECTOR = {
    "host": "host-1",
    "ip": "127.0.0.1",
    "initiator": "iqn.2000-01.test:host",
    "platform": "x86_64",
    "os_type": "linux",
    "multipath": False,
}


class Failed(Exception):
    """Cinder says that something went wrong."""


class Volumes:
    """Makes things of one backend and waits for them; what is still there at the end is deleted."""

    def __init__(self, rest: Rest, backend: str) -> None:
        self._rest = rest
        self.backend = backend
        self._made: list[tuple[str, str]] = []

    # What there is.

    def show(self, volume: str) -> Any:
        """All that Cinder says of a volume."""
        return self._rest.volume("GET", f"/volumes/{volume}")["volume"]

    def pool(self, volume: str) -> str:
        """The pool of a volume, as the scheduler calls it."""
        return pool_of(self.show(volume))

    def manageable(self, kind: str, volume: str) -> list[Any]:
        """What the backend of a volume could be given to manage; *kind* is volumes or snapshots."""
        found = self._rest.volume("GET", f"/manageable_{kind}/detail?{urlencode(place(self.pool(volume)))}")
        return list(found[f"manageable-{kind}"])

    # What is made.

    def create(self, size: int = 1, **how: object) -> str:
        """A volume, by its id, when it is available."""
        copied = {"snapshot_id", "source_volid"} & how.keys()
        typed: Mapping[str, object] = {} if copied or "volume_type" in how else {"volume_type": self.backend}
        return self._create("volumes", {"size": size, **typed, **how})

    def snapshot(self, volume: str) -> str:
        """A snapshot, by its id, when it is available."""
        return self._create("snapshots", {"volume_id": volume})

    def manage(self, pool: str, reference: object) -> str:
        """A volume of what is there already."""
        body = {"volume": {**place(pool), "ref": reference, "name": "test", "volume_type": self.backend}}
        return self._added("volumes", self._rest.volume("POST", "/manageable_volumes", body)["volume"]["id"])

    def manage_snapshot(self, volume: str, reference: object) -> str:
        """A snapshot of what is there already."""
        body = {"snapshot": {"volume_id": volume, "ref": reference, "name": "test"}}
        return self._added("snapshots", self._rest.volume("POST", "/manageable_snapshots", body)["snapshot"]["id"])

    def adopt(self, volume: str) -> None:
        """Delete a volume that something else made at the end, too."""
        self._made.append(("volumes", volume))

    def adopt_any(self, kind: str, ident: str) -> None:
        """Delete something at the end that something else made."""
        self._made.append((kind, ident))

    def made(self) -> list[tuple[str, str]]:
        """The kinds and ids of what is to be deleted at the end."""
        return list(self._made)

    def forget(self, volume: str) -> None:
        """Do not delete a volume at the end that is gone by then."""
        self.forget_any("volumes", volume)

    def forget_any(self, kind: str, ident: str) -> None:
        """Do not delete something at the end that is gone by then."""
        self._made.remove((kind, ident))

    def _create(self, kind: str, body: Mapping[str, object]) -> str:
        one = kind[:-1]
        return self._added(kind, self._rest.volume("POST", f"/{kind}", {one: {"name": "test", **body}})[one]["id"])

    def _added(self, kind: str, ident: str) -> str:
        self._made.append((kind, ident))
        self.wait(kind, ident, "available")
        return ident

    # What is done to them.

    def act(self, volume: str, action: str, **arguments: object) -> Any:
        """An action of a volume."""
        return self._rest.volume("POST", f"/volumes/{volume}/action", {action: arguments})

    def extend(self, volume: str, size: int) -> None:
        """To so many GiB."""
        self.act(volume, "os-extend", new_size=size)
        self.wait("volumes", volume, "available")

    def migrate(self, volume: str, pool: str) -> None:
        """To another pool, by the driver."""
        self.act(volume, "os-migrate_volume", **place(pool), force_host_copy=False, lock_volume=False)

        def over() -> bool:
            found = self.show(volume)["migration_status"]
            if found == "error":
                raise Failed(f"volume {volume} did not migrate to {pool}")
            return bool(found == "success")

        until(over, f"volume {volume} is at {pool}", seconds=_PATIENCE)

    def set_available(self, volume: str) -> None:
        """What an administrator does after a failure that did no harm."""
        self.act(volume, "os-reset_status", status="available")

    def revert(self, volume: str, snapshot: str) -> None:
        """To its latest snapshot."""
        self.act(volume, "revert", snapshot_id=snapshot)
        self.wait("volumes", volume, "available")
        self.wait("snapshots", snapshot, "available")

    def attach(self, volume: str) -> tuple[str, Any]:
        """The id of an attachment and what the driver tells the host that asked for it."""
        body = {"attachment": {"volume_uuid": volume, "connector": _CONNECTOR}}
        attachment = self._rest.volume("POST", "/attachments", body)["attachment"]
        self._rest.volume("POST", f"/attachments/{attachment['id']}/action", {"os-complete": attachment["id"]})
        self.wait("volumes", volume, "in-use")
        return attachment["id"], attachment["connection_info"]

    def detach(self, volume: str, attachment: str) -> None:
        """End an attachment."""
        self._rest.volume("DELETE", f"/attachments/{attachment}")
        self.wait("volumes", volume, "available")

    def unmanage(self, volume: str) -> None:
        """Have Cinder forget a volume."""
        self.act(volume, "os-unmanage")
        self._gone("volumes", volume)

    def unmanage_snapshot(self, snapshot: str) -> None:
        """Have Cinder forget a snapshot."""
        self._rest.volume("POST", f"/snapshots/{snapshot}/action", {"os-unmanage": {}})
        self._gone("snapshots", snapshot)

    def delete(self, volume: str) -> None:
        """A volume."""
        self._rest.volume("DELETE", f"/volumes/{volume}")
        self._gone("volumes", volume)

    def delete_with_snapshots(self, volume: str) -> None:
        """A volume and all its snapshots."""
        self._rest.volume("DELETE", f"/volumes/{volume}?cascade=true")
        self._gone("volumes", volume)
        self._made = [thing for thing in self._made if thing[0] == "volumes"]

    def delete_snapshot(self, snapshot: str) -> None:
        """A snapshot."""
        self._rest.volume("DELETE", f"/snapshots/{snapshot}")
        self._gone("snapshots", snapshot)

    def clear(self) -> None:
        """Delete what the test left, the newest first."""
        for kind, ident in reversed(list(self._made)):
            if kind == "volumes":
                self.delete(ident)
            else:
                self.delete_snapshot(ident)

    def force_clear(self) -> None:
        """The same after a failure: whatever state things are in."""
        for kind, ident in reversed(list(self._made)):
            try:
                if kind == "volumes":
                    self.act(ident, "os-reset_status", status="error", attach_status="detached")
                self._rest.volume("POST", f"/{kind}/{ident}/action", {"os-force_delete": {}})
                self._gone(kind, ident)
            except (Refused, Failed, TimeoutError) as error:
                print(f"{kind} {ident} stays: {error}")

    def _gone(self, kind: str, ident: str) -> None:
        self.wait(kind, ident, None)
        self._made.remove((kind, ident))

    def wait(self, kind: str, ident: str, wanted: str | None) -> None:
        """Until a thing has a state, or with None until it is gone. Raises Failed with what Cinder tells its users."""

        def reached() -> bool:
            try:
                status = self._rest.volume("GET", f"/{kind}/{ident}")[kind[:-1]]["status"]
            except Refused as refused:
                if refused.status == 404 and wanted is None:
                    return True
                raise
            if status != wanted and "error" in status:
                raise Failed(f"{kind[:-1]} {ident} is {status}{self._messages(ident)}")
            return bool(status == wanted)

        until(reached, f"{kind[:-1]} {ident} is {wanted or 'gone'}", seconds=_PATIENCE)

    def messages(self, ident: str) -> list[Any]:
        """What Cinder tells the tenant about a thing, the latest first."""
        return list(self._rest.volume("GET", f"/messages?resource_uuid={ident}")["messages"])

    def _messages(self, ident: str) -> str:
        return "".join(f"; {message['user_message']}" for message in self.messages(ident)[:2])
