"""Warnings about a child whose parent is in another directory."""

import posixpath

from vhdx.cli.reach import Reach
from vhdx.errors import ParentNotFound
from vhdx.image.base import ImageFormat
from vhdx.location import LocalAddress, Place


def notes_of_elsewhere(reach: Reach, place: Place, parent: str, format: ImageFormat | None = None) -> list[str]:
    """Lines that tell how to open the image at *place*, and that *parent* is not protected against changes."""
    elsewhere = posixpath.normpath(posixpath.dirname(parent))
    if elsewhere == posixpath.normpath(posixpath.dirname(place.files.resolve(place.path))):
        return []
    notes = ["this child is not found from the parent's directory: never modify the parent"]
    try:
        reach.engine(place).layers(place.files, place.path, format=format)
    except ParentNotFound:
        directory = elsewhere if isinstance(place.address, LocalAddress) else f"/{elsewhere}"
        notes.append(f"the parent is outside the image's directory: open the image with --parents-in {directory}")
    return notes
