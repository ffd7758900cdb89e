"""Merging layers into the one below them.

The first write to the target would break the linkage of the layer above it. So the target's next DataWriteGuid is
chosen beforehand and recorded in that layer as second linkage; then the target takes it; then the payload goes down.
Stopped at any point, every disk that reads through the top layer opens and reads as before, and merging again
finishes: what was copied is masked by the layers it was copied from.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from vhdx.chain import resolve
from vhdx.image.base import Image, NewId
from vhdx.placing import place_all

Progress = Callable[[int, int], None]
"""Bytes of the disk done and in all, called when the target is consistent; may raise Cancelled."""


def merge(
    layers: Sequence[Image], *, below: int = 0, new_id: NewId, on_progress: Progress | None = None
) -> None:
    """Write what *layers* (top first) hold over the last of them into it; the top's size wins.

    *below* is the virtual size of what lies under the target. The target and the layer above it are open for
    writing. Afterwards the target reads as the top does, and the layers between are no disks of their own any more.
    """
    sources, target = layers[:-1], layers[-1]
    _declare(sources[-1], target, new_id)
    size = sources[0].virtual_size
    if size > target.virtual_size:
        target.resize(size, below=below)

    def done(offset: int) -> None:
        if on_progress is not None:
            on_progress(offset, size)

    place_all(resolve(sources, 0, size), sources, target, after_batch=done)
    if size < target.virtual_size:
        target.resize(size)
    done(size)


def _declare(above: Image, target: Image, new_id: NewId) -> None:
    link, present = above.info.parent, target.info.data_write_guid
    assert link is not None
    if link.linkage2 == present and link.linkage != present:
        target.begin(data_write_guid=present)
        return
    following = new_id()
    above.set_parent(replace(link, linkage2=following))
    target.begin(data_write_guid=following)
