"""What must be true before the end of a disk is cut off."""

from enum import Enum

from vhdx.chain.chain import Chain
from vhdx.errors import Error, WouldLoseData
from vhdx.extents import Presence
from vhdx.verbs.merge_plan import MergePlan
from vhdx.verbs.zeros import is_zeros


class Shrink(Enum):
    """What a verb may do to the end of a disk."""

    REFUSE = "refuse"  # no disk may become smaller
    UNUSED = "unused"  # cut off what reads as zeros
    FORCE = "force"  # cut off whatever is there


def refuse_cut(target: str, plan: MergePlan, shrink: Shrink) -> None:
    """Raises WouldLoseData when a merge into *target* would cut off more than *shrink* allows."""
    if plan.lost and shrink is not Shrink.FORCE:
        raise WouldLoseData(
            f"{target}: the layer to be merged is {plan.cut} bytes smaller than what lies under it, and {plan.lost} "
            "bytes of data there would be lost; enlarge that layer first to keep them"
        )
    if plan.cut and shrink is Shrink.REFUSE:
        raise WouldLoseData(
            f"{target}: the layer to be merged is {plan.cut} bytes smaller than what lies under it, and shrinking has "
            "to be asked for"
        )


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
    chain.shared()
    for layer, extent in chain.extents(*_tail(chain, size)):
        if extent.presence is Presence.DATA and not is_zeros(chain.images[layer], extent):
            raise WouldLoseData(
                f"{name}: there is data between {extent.offset} and {extent.end}, which a disk of {size} bytes would "
                f"not have; move it first, or force the shrinking to lose it"
            )


def _tail(chain: Chain, size: int) -> tuple[int, int]:
    start = size // chain.leaf.logical_sector_size * chain.leaf.logical_sector_size
    return start, chain.size - start
