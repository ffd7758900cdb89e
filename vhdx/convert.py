"""A disk in another shape: what a chain reads, in one new image without a parent."""

from vhdx.chain import Chain
from vhdx.extents import Presence
from vhdx.image.base import Image, Progress
from vhdx.placing import place_all


def convert(chain: Chain, target: Image, *, on_progress: Progress | None = None) -> None:
    """Fill *target*, which is new and reads as zeros, with the disk of *chain*. What is known to be zeros stays out."""

    def done(offset: int) -> None:
        if on_progress is not None:
            on_progress(offset, chain.size)

    found = (piece for piece in chain.extents(0, chain.size) if piece.extent.presence is Presence.DATA)
    place_all(found, chain.images, target, after_batch=done)
    done(chain.size)
