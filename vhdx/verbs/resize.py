"""Another size for the disk of an open family."""

from vhdx.chain.family import Family
from vhdx.verbs.equal_sizes import refuse_unequal
from vhdx.verbs.shrink import Shrink, refuse_loss


def resize(family: Family, size: int, *, shrink: Shrink, any_size: bool) -> None:
    """Change the size of the leaf, which is open for writing; see `Engine.resize`."""
    chain, below = family.chain, family.size_under(0)
    if len(family.layers) > 1 and size != chain.size and not any_size:
        refuse_unequal(family.files.describe(family.layers[0].path), family.format, size, below)
    if size < chain.size and shrink is not Shrink.FORCE:
        refuse_loss(chain, size, unused=shrink is Shrink.UNUSED)
    chain.leaf.resize(size, below=below)
