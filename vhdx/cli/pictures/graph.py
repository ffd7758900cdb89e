"""A drawing of a chain: a box for each layer, an arrow to its parent, and the reasons for a broken link."""

from collections.abc import Callable, Iterator, Sequence

from vhdx.chain.lineage import Link, LinkVerdict, Member
from vhdx.cli.pictures.shapes import Color, Drawing, Rect, Shape, Text, Triangle, base_name, shortened
from vhdx.cli.plain import escaped, size_text

_MARGIN = 4
_WIDTH = 1080
_BOX = 620
_HEIGHT = 76
_GAP = 52
_ASIDE = _MARGIN + _BOX + 48
_SHAFT = _MARGIN + 40
_LINE = 18
_MOST_SIBLINGS = 3
_MOST_REASONS = 5
_LONGEST = 150

Describe = Callable[[str], str]
"""The full path or URL of a path."""

BROKEN = {
    LinkVerdict.MISMATCH: "the file at the recorded path is not, or is no longer, the parent",
    LinkVerdict.MISSING: "the parent was not found",
    LinkVerdict.LOOP: "the chain is circular: the parent is this image or one of its children",
    LinkVerdict.TOO_DEEP: "the chain has too many layers",
    LinkVerdict.DENIED: "permission denied for a file that may be the parent",
}


def chain_drawing(members: Sequence[Member], describe: Describe) -> Drawing:
    """A drawing of *members*, leaf first."""
    shapes: list[Shape] = []
    top = _MARGIN
    for number, member in enumerate(members):
        shapes += _box(number, member, describe, top)
        if member.siblings:
            shapes += _siblings(member.siblings, describe, top)
        top += _HEIGHT
        if member.link is not None:
            sound = member.link.verdict is LinkVerdict.FOUND
            shapes += _arrow(member.link, top)
            top += _GAP
            if not sound:
                broken = list(_broken(member.link, describe, top))
                shapes += broken
                top += _broken_height(member.link)
    return Drawing(_WIDTH, top + _MARGIN, "The chain of images", described(members, describe), tuple(shapes))


def described(members: Sequence[Member], describe: Describe) -> str:
    """A text description of the chain."""
    names = [escaped(base_name(describe(member.path))) for member in members[:8]]
    text = " over ".join(names) + (f" over {len(members) - 8} more" if len(members) > 8 else "")
    link = members[-1].link if members else None
    if link is not None and link.verdict is not LinkVerdict.FOUND:
        text += f"; broken link: {BROKEN[link.verdict]}"
    return text


def link_text(link: Link) -> str:
    """How a parent was found, or why the link is broken."""
    if link.verdict is not LinkVerdict.FOUND:
        return BROKEN[link.verdict]
    how = f"the file name in {link.key}" if link.by_name else link.key
    return f"parent found by {how}, id matches"


def _box(number: int, member: Member, describe: Describe, top: int) -> Iterator[Shape]:
    name, info, status = describe(member.path), member.info, member.status
    broken = member.link is not None and member.link.verdict is not LinkVerdict.FOUND
    yield from _frame(_MARGIN, top, _BOX, _HEIGHT, Color.BAD if broken else Color.VISIBLE)
    title = f"{number}  {shortened(escaped(base_name(name)), 60)}"
    yield Text(_MARGIN + 18, top + 25, title, 15, bold=True)
    folder = name.replace("\\", "/").rpartition("/")[0]
    yield Text(_MARGIN + 18, top + 44, shortened(escaped(folder), 84), 12, Color.MUTED)
    text = (
        f"{info.format.value} {info.type.value} · {size_text(info.virtual_size)} disk · "
        f"{size_text(status.size)} file, {size_text(status.allocated)} on disk"
    )
    yield Text(_MARGIN + 18, top + 63, text, 12)


def _arrow(link: Link, top: int) -> Iterator[Shape]:
    """An arrow from the box that ends at *top* to the next one."""
    if link.verdict is LinkVerdict.FOUND:
        color = Color.MUTED
        yield Rect(_SHAFT - 1, top, 2, _GAP - 8, color)
    else:
        color = Color.BAD
        yield from (Rect(_SHAFT - 1, at, 2, 5, color) for at in range(top, top + _GAP - 10, 9))
    yield Triangle(_SHAFT, top + _GAP - 1, 8, color)
    yield Text(_SHAFT + 18, top + _GAP // 2 + 4, shortened(escaped(link_text(link)), 90), 12, color)


def _siblings(siblings: Sequence[str], describe: Describe, top: int) -> Iterator[Shape]:
    """Other children of the same parent, connected to the arrow to it."""
    width = _WIDTH - _ASIDE - _MARGIN
    names = [base_name(describe(path)) for path in siblings[:_MOST_SIBLINGS]]
    if len(siblings) > _MOST_SIBLINGS:
        names[-1] = f"and {len(siblings) - _MOST_SIBLINGS + 1} more"
    yield from _frame(_ASIDE, top, width, _HEIGHT, Color.LINE)
    yield Text(_ASIDE + 18, top + 21, "siblings: they have the same parent", 12, Color.MUTED)
    for number, name in enumerate(names):
        yield Text(_ASIDE + 18, top + 39 + 15 * number, shortened(escaped(name), 46), 12)
    middle, level = _ASIDE + width // 2, top + _HEIGHT + 10
    yield Rect(middle, top + _HEIGHT, 2, 10, Color.MUTED)
    yield Rect(_SHAFT, level, middle - _SHAFT + 2, 2, Color.MUTED)


def _broken(link: Link, describe: Describe, top: int) -> Iterator[Shape]:
    """A box in place of the parent, with the reason why each candidate was rejected."""
    yield from _frame(_MARGIN, top, _WIDTH - 2 * _MARGIN, _broken_height(link) - 4, Color.BAD)
    title = "no parent" if link.path is None else f"not the parent: {base_name(describe(link.path))}"
    yield Text(_MARGIN + 18, top + 25, shortened(escaped(title), 100), 15, Color.BAD, bold=True)
    for number, problem in enumerate(_reasons(link)):
        yield Text(_MARGIN + 18, top + 46 + _LINE * number, shortened(escaped(problem), _LONGEST), 12)


def _broken_height(link: Link) -> int:
    return 44 + _LINE * max(len(_reasons(link)), 1)


def _reasons(link: Link) -> list[str]:
    left = len(link.problems) - _MOST_REASONS
    reasons = list(link.problems[:_MOST_REASONS]) or ["the image records no usable path"]
    return [*reasons, f"and {left} more reasons"] if left > 0 else reasons


def _frame(x: int, y: int, width: int, height: int, color: Color) -> Iterator[Rect]:
    yield Rect(x, y, width, height, Color.BAD if color is Color.BAD else Color.LINE)
    yield Rect(x + 1, y + 1, width - 2, height - 2, Color.BOX)
    yield Rect(x, y, 5, height, color)
