"""What must be true before the end of a disk is cut off."""

from vhdx.chain import Chain
from vhdx.errors import Error, WouldLoseData
from vhdx.extents import Presence
from vhdx.zeros import is_zeros


def refuse_loss(chain: Chain, size: int, *, unused: bool) -> None:
    """Raises Error when shrinking the disk of *chain* to *size* bytes would lose something.

    With *unused* the part that goes is read: it may hold zeros only. Without, no disk may shrink.
    """
    name = chain.leaf.storage.name
    if not unused:
        reason = f"the disk has {chain.size} bytes, and {size} are fewer; shrinking has to be asked for"
        raise WouldLoseData(f"{name}: {reason}")
    if size < 0:
        raise Error(f"{name}: a disk cannot have {size} bytes")
    for layer, extent in chain.extents(*_tail(chain, size)):
        if extent.presence is Presence.DATA and not is_zeros(chain.images[layer], extent):
            raise WouldLoseData(
                f"{name}: there is data between {extent.offset} and {extent.end}, which a disk of {size} bytes would "
                f"not have; move it first, or force the shrinking to lose it"
            )


def _tail(chain: Chain, size: int) -> tuple[int, int]:
    start = size // chain.leaf.logical_sector_size * chain.leaf.logical_sector_size
    return start, chain.size - start
