"""Access of the entry points to pools, volume types and the worker process."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, TypeVar

from cinder import context, exception, objects
from cinder.message import api as message_api
from cinder.message import message_field
from cinder.objects import fields
from cinder.volume import volume_utils
from oslo_log import log

from smbfs_driver.cinder.failures import RequestRefused, told_to_cinder
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


def refuse_attached(volume: Any, what: str) -> None:
    """Raise InvalidVolume if a volume is attached; *what* is the refused operation, such as "cannot be extended"."""
    if is_attached(volume):
        reason = f"the volume is attached and {what}; detach it first"
        raise exception.InvalidVolume(reason=f"{volume.name}: {reason}")


def is_attached(volume: Any) -> bool:
    """Whether the database has an attachment of the volume, including one that is being made."""
    found = objects.VolumeAttachmentList.get_all_by_volume_id(context.get_admin_context(), volume.id)
    return any(attachment.attach_status in _ATTACHED for attachment in found)


class BackendReach:
    """The pools of a backend and its worker process. Raises Cinder's exceptions, except `run` and `feed`."""

    def __init__(self, configuration: Any, pools: Pools, worker: Worker, neighbours: Pools | None = None) -> None:
        """*neighbours*: the pools of other backends of this service, whose shares *worker* has, too."""
        self.configuration = configuration
        self.pools = pools
        self.unsettled = {pool.address for pool in pools}
        """Addresses of shares that may have interrupted operations."""
        self._known: list[Pool] = [*pools, *(neighbours or ())]
        self._worker = worker

    @cached_property
    def messages(self) -> Any:
        """Cinder's user messages. Created on first use, because that disposes of the database connections."""
        return message_api.API()

    @contextlib.contextmanager
    def told_to_tenant(
        self, context: Any, volume: Any, ends: Sequence[type[Exception]], *, image: bool = False
    ) -> Iterator[None]:
        """Write a user message if one of *ends* is raised, for creations for which Cinder itself writes none."""
        action = message_field.Action
        try:
            yield
        except tuple(ends) as error:
            self.messages.create(
                context,
                action.COPY_IMAGE_TO_VOLUME if image else action.CREATE_VOLUME_FROM_BACKEND,
                resource_uuid=volume.id,
                exception=error,
                detail=message_field.Detail.DRIVER_FAILED_CREATE,
            )
            raise

    def known(self, address: str) -> Pool:
        """The pool at an address, of this backend or another of this service. Raises Error."""
        wanted = UncName.parse(address)
        for pool in self._known:
            if pool.share.unc == wanted:
                return pool
        return self.pools.at(address)

    def run(self, method: Callable[Concatenate[Backend, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """Call a method of `Backend`, after recovering an interrupted move if necessary. Raises what it raises."""
        try:
            return self._worker.call(method, *arguments, **named)
        except MoveStopped as stopped:
            self.settle_move(stopped)
            return self._worker.call(method, *arguments, **named)

    def feed(self, method: Callable[Concatenate[Backend, Feed, P], R], *arguments: P.args, **named: P.kwargs) -> Fed:
        """Start a call of a method that takes data."""
        return self._worker.feed(method, *arguments, **named)

    def settle_move(self, stopped: MoveStopped) -> None:
        """Complete or undo an interrupted move, depending on the location in Cinder's database. Raises Error."""
        try:
            volume = objects.Volume.get_by_id(context.get_admin_context(), stopped.owner)
        except exception.VolumeNotFound as error:
            known = f"{stopped}; the volume is no longer in Cinder's database: inspect and remove both files manually"
            raise Error(known) from error
        home = self.known(volume.provider_location or "")
        settled, failure = False, None
        for pool in self._known:
            try:
                settled |= self._worker.call(Backend.settle_move, pool.address, stopped.volume, home=home.address)
            except (Error, OSError) as error:
                failure = error
        if settled:
            LOG.info("%s: interrupted move recovered; the volume is at %s", stopped.volume, home.address)
        elif failure is not None:
            raise failure

    def pool_of(self, volume: Any) -> Pool:
        """The pool of a volume: from its provider_location, else from its host."""
        with told_to_cinder():
            if volume.provider_location:
                return self.pools.at(volume.provider_location)
            return self.pools.named(volume_utils.extract_host(volume.host, level="pool"))

    def announce(self, volume: Any) -> str:
        """Save the share that the scheduler selected as provider_location, before the first file is created.

        So deleting the volume finds the files even if the service was interrupted while it created them. Not for an
        image to be managed, which must survive a failure.
        """
        with told_to_cinder():
            address = self.pools.named(volume_utils.extract_host(volume.host, level="pool")).address
        volume.provider_location = address
        volume.save()
        return address

    def address(self, volume: Any) -> str:
        """The address of a volume's share."""
        return self.pool_of(volume).address

    def shape(self, volume_type: Any) -> Shape:
        """The shape by volume type, else by backend; volume metadata is ignored, because tenants can set it."""
        specs = (volume_type.extra_specs or {}) if volume_type else {}
        named = next((specs[key] for key in _FORMAT_SPECS if key in specs), None)
        named = named or self.configuration.smbfs_default_volume_format
        if named.lower() not in FORMATS:
            raise RequestRefused(reason=f"invalid volume format {named}: must be vhdx or vhd")
        provisioning = specs.get("provisioning:type") or self.configuration.nas_volume_prov_type
        if provisioning not in _PROVISIONING:
            raise RequestRefused(reason=f"invalid provisioning:type {provisioning}: must be thin or thick")
        return Shape(FORMATS[named.lower()], fixed=_PROVISIONING[provisioning])
