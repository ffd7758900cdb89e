"""Which exceptions the driver raises for the core's errors, and what Cinder's own create flow makes of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from cinder import exception, objects
from taskflow.types.failure import Failure

objects.register_all()

from cinder.volume.flows.manager.create_volume import OnFailureRescheduleTask  # noqa: E402  as is said above

from smbfs_driver.cinder.failures import (  # noqa: E402
    RequestRefused,
    SourceAttached,
    told_of_image,
    told_of_reference,
    told_to_cinder,
)
from smbfs_driver.volumes.refusals import BadImage, ImageTooLarge, Refused  # noqa: E402
from smbfs_driver.volumes.steps import MoveStopped  # noqa: E402
from vhdx.errors import Error, FormatError, InUse, OutOfSpace  # noqa: E402

BACKEND = exception.VolumeBackendAPIException
UNACCEPTABLE = exception.ImageUnacceptable
TOO_BIG = exception.ImageTooBig
REFERENCE = exception.ManageExistingInvalidReference

Told = Callable[[], AbstractContextManager[None]]
PLACES: dict[str, Told] = {
    "anywhere": told_to_cinder,
    "an image": lambda: told_of_image("the image"),
    "an image in a volume": lambda: told_of_image("the image", only_here=True),
    "a reference": lambda: told_of_reference({"source-name": "disk"}),
}
OF_IMAGES: dict[str, type[Exception]] = {"anywhere": RequestRefused, "a reference": REFERENCE}
KINDS: list[tuple[Exception, dict[str, type[Exception]]]] = [
    (Error("log-on failed"), {"a reference": REFERENCE}),
    (FormatError("header", 0, "no signature"), {"a reference": REFERENCE}),
    (Refused("no"), dict.fromkeys(PLACES, RequestRefused) | {"a reference": REFERENCE}),
    (BadImage("damaged"), {**OF_IMAGES, "an image": UNACCEPTABLE, "an image in a volume": UNACCEPTABLE}),
    (ImageTooLarge("2"), {**OF_IMAGES, "an image": TOO_BIG, "an image in a volume": TOO_BIG}),
    (OutOfSpace("full"), {"an image in a volume": TOO_BIG}),
    (InUse("open"), {}),
    (MoveStopped("moving"), {}),
    (FileNotFoundError(2, "no such file"), {"a reference": REFERENCE}),
    (ConnectionResetError("gone"), {}),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("error", "told"), KINDS, ids=[type(error).__name__ for error, _ in KINDS])
def test_every_kind_of_error_has_its_exception(
    error: Exception, told: dict[str, type[Exception]], place: str
) -> None:
    with pytest.raises(exception.CinderException) as raised, PLACES[place]():
        raise error
    assert type(raised.value) is told.get(place, BACKEND)
    assert str(error) in str(raised.value)


@pytest.mark.parametrize("place", PLACES)
def test_what_is_cinders_already_is_passed_on(place: str) -> None:
    with pytest.raises(exception.ImageNotFound), PLACES[place]():
        raise exception.ImageNotFound(image_id="the image")


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (BACKEND(data="the share is full"), True),
        (UNACCEPTABLE(image_id="i", reason="damaged"), False),
        (TOO_BIG(image_id="i", reason="larger"), False),
        (RequestRefused(reason="no VHD is that large"), False),
        (SourceAttached(reason="detach it first"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_create_flow_goes_on_with_what_another_pool_may_do(error: Exception, goes_on: bool) -> None:
    task = OnFailureRescheduleTask(None, None, None, None, True)
    try:
        raise error
    except type(error):
        failure = Failure()
    assert (failure.check(*task.no_reschedule_types) is None) is goes_on


def test_they_are_what_their_names_say() -> None:
    assert issubclass(SourceAttached, exception.InvalidVolume)
    assert issubclass(RequestRefused, exception.InvalidInput)
    assert str(RequestRefused(reason="no VHD is that large")) == "no VHD is that large"
    assert str(SourceAttached(reason="detach it first")) == "Invalid volume: detach it first"
    assert RequestRefused(reason="").code == SourceAttached(reason="").code == 400
