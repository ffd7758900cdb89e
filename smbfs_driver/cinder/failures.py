"""Translation of errors into the exceptions on which Cinder's manager and flows act.

Cinder's create flow (`OnFailureRescheduleTask` in cinder/volume/flows/manager/create_volume.py) reschedules a failed
creation to another pool, unless the exception is, or derives from, one of a fixed list. docs/operator/errors.md lists
causes, exceptions and effects.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from cinder import exception

from smbfs_driver.volumes.refusals import BadImage, ImageTooLarge, Refused
from smbfs_driver.volumes.steps import MoveStopped
from vhdx.errors import Error, InUse, OutOfSpace


class _NotRescheduled(exception.VolumeTypeNotFound):  # type: ignore[misc]  # Cinder is not typed
    """Not rescheduled by the create flow. Of the exceptions on its list, this one has no other handler in the way."""


class RequestRefused(exception.InvalidInput, _NotRescheduled):  # type: ignore[misc]
    """No pool of this driver can fulfil the request."""

    message = "%(reason)s"


class SourceAttached(exception.InvalidVolume, _NotRescheduled):  # type: ignore[misc]
    """The source of a clone is attached, whatever the pool of the clone."""


NOT_RESCHEDULED = (exception.ImageUnacceptable, exception.ImageTooBig, _NotRescheduled)
"""Exceptions that end a creation for which Cinder could otherwise try another pool."""


@contextlib.contextmanager
def told_to_cinder() -> Iterator[None]:
    """Translate Refused into RequestRefused, and other errors into VolumeBackendAPIException."""
    try:
        yield
    except Refused as error:
        raise RequestRefused(reason=str(error)) from error
    except (Error, OSError) as error:
        raise exception.VolumeBackendAPIException(data=str(error)) from error


@contextlib.contextmanager
def told_of_image(image_id: str, *, only_here: bool = False) -> Iterator[None]:
    """As `told_to_cinder`, but raise ImageUnacceptable or ImageTooBig for faults of the image.

    With *only_here* the volume exists and Cinder tries no other pool. Then a full share also raises ImageTooBig, for
    which Cinder writes a user message about space.
    """
    with told_to_cinder():
        try:
            yield
        except BadImage as error:
            raise exception.ImageUnacceptable(image_id=image_id, reason=str(error)) from error
        except ImageTooLarge as error:
            raise exception.ImageTooBig(image_id=image_id, reason=str(error)) from error
        except OutOfSpace as error:
            if not only_here:
                raise
            raise exception.ImageTooBig(image_id=image_id, reason=str(error)) from error


@contextlib.contextmanager
def told_of_reference(existing_ref: Any) -> Iterator[None]:
    """As `told_to_cinder`, but raise ManageExistingInvalidReference if the referenced object cannot be managed."""
    with told_to_cinder():
        try:
            yield
        except (InUse, OutOfSpace, MoveStopped):
            raise
        except (Error, FileNotFoundError) as error:
            raise exception.ManageExistingInvalidReference(existing_ref=existing_ref, reason=str(error)) from error
