"""Where volumes are, how they are to be kept, and the way to the core that works on them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from cinder import context, exception, objects
from cinder.objects import fields
from cinder.volume import volume_utils
from oslo_log import log

from smbfs_driver.shares.pools import Pool, Pools
from smbfs_driver.shares.unc import UncName
from smbfs_driver.volumes.names import DiskFormat
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.steps import MoveStopped
from smbfs_driver.worker.backend import Backend, Feed
from smbfs_driver.worker.worker import Fed, Worker
from vhdx.errors import Error

LOG = log.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

FORMATS = {"vhd": DiskFormat.VHD, "vpc": DiskFormat.VHD, "vhdx": DiskFormat.VHDX}
_FORMAT_SPECS = ("smbfs:volume_format", "volume_format")
_ATTACHED = (
    fields.VolumeAttachStatus.RESERVED,
    fields.VolumeAttachStatus.ATTACHING,
    fields.VolumeAttachStatus.ATTACHED,
    fields.VolumeAttachStatus.ERROR_DETACHING,
)
_PROVISIONING = {"thin": False, "thick": True}


@contextlib.contextmanager
def told_to_cinder() -> Iterator[None]:
    """What the core raises, as the exception that Cinder's manager expects."""
    try:
        yield
    except (Error, OSError) as error:
        raise exception.VolumeBackendAPIException(data=str(error)) from error


def refuse_attached(volume: Any, what: str) -> None:
    """Raises InvalidVolume for a volume that somebody has attached: *what* says what cannot be done then."""
    if is_attached(volume):
        reason = f"it is attached, and {what} under a running guest; detach it first"
        raise exception.InvalidVolume(reason=f"{volume.name}: {reason}")


def is_attached(volume: Any) -> bool:
    """Whether somebody has the volume, or is about to have it: as the database knows it now."""
    found = objects.VolumeAttachmentList.get_all_by_volume_id(context.get_admin_context(), volume.id)
    return any(attachment.attach_status in _ATTACHED for attachment in found)


class BackendReach:
    """The pools of a backend and the worker that reaches their shares. Raises Cinder's exceptions, but from `run`."""

    def __init__(self, configuration: Any, pools: Pools, worker: Worker, neighbours: Pools | None = None) -> None:
        """*neighbours* are the pools of other backends of this service, which *worker* reaches, too."""
        self.configuration = configuration
        self.pools = pools
        self.unsettled = {pool.address for pool in pools}
        """The shares on which something that was stopped may be left."""
        self._known: list[Pool] = [*pools, *(neighbours or ())]
        self._worker = worker

    def known(self, address: str) -> Pool:
        """The pool at an address, of this backend or of another one of this service. Raises Error."""
        wanted = UncName.parse(address)
        for pool in self._known:
            if pool.share.unc == wanted:
                return pool
        return self.pools.at(address)

    def run(self, method: Callable[Concatenate[Backend, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """Run a method of `Backend`, once a stopped move that is in its way is settled. Raises what it raises."""
        try:
            return self._worker.call(method, *arguments, **named)
        except MoveStopped as stopped:
            self.settle_move(stopped)
            return self._worker.call(method, *arguments, **named)

    def feed(self, method: Callable[Concatenate[Backend, Feed, P], R], *arguments: P.args, **named: P.kwargs) -> Fed:
        """Begin a method that takes data."""
        return self._worker.feed(method, *arguments, **named)

    def settle_move(self, stopped: MoveStopped) -> None:
        """Finish or undo a move, as Cinder's database says: it knows whether the volume has moved. Raises Error."""
        try:
            volume = objects.Volume.get_by_id(context.get_admin_context(), stopped.owner)
        except exception.VolumeNotFound as error:
            known = f"{stopped}; Cinder does not know the volume any more: look at both files and remove them by hand"
            raise Error(known) from error
        home = self.known(volume.provider_location or "")
        settled, failure = False, None
        for pool in self._known:
            try:
                settled |= self._worker.call(Backend.settle_move, pool.address, stopped.volume, home=home.address)
            except (Error, OSError) as error:
                failure = error
        if settled:
            LOG.info("%s: its stopped move is settled, it is at %s", stopped.volume, home.address)
        elif failure is not None:
            raise failure

    def pool_of(self, volume: Any) -> Pool:
        """Where a volume is, or is to be."""
        with told_to_cinder():
            if volume.provider_location:
                return self.pools.at(volume.provider_location)
            return self.pools.named(volume_utils.extract_host(volume.host, level="pool"))

    def announce(self, volume: Any) -> str:
        """The share that the scheduler chose for a volume; the database knows it before a file of it is there.

        So what a service made that was stopped before it could tell is found when the volume is deleted. An image that
        is to be managed was there before, and is announced to nobody until it is.
        """
        with told_to_cinder():
            address = self.pools.named(volume_utils.extract_host(volume.host, level="pool")).address
        volume.provider_location = address
        volume.save()
        return address

    def address(self, volume: Any) -> str:
        """The share on which a volume is."""
        return self.pool_of(volume).address

    def shape(self, volume_type: Any) -> Shape:
        """By a volume's type, else by the backend; metadata, which a tenant sets, has no say."""
        specs = (volume_type.extra_specs or {}) if volume_type else {}
        named = next((specs[key] for key in _FORMAT_SPECS if key in specs), None)
        named = named or self.configuration.smbfs_default_volume_format
        if named.lower() not in FORMATS:
            raise exception.InvalidVolumeType(reason=f"{named} is no format of volumes; there are vhdx and vhd")
        provisioning = specs.get("provisioning:type") or self.configuration.nas_volume_prov_type
        if provisioning not in _PROVISIONING:
            raise exception.InvalidVolumeType(reason=f"provisioning:type can be thin or thick, not {provisioning}")
        return Shape(FORMATS[named.lower()], fixed=_PROVISIONING[provisioning])
