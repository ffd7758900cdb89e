"""``vhdx-inspect chain``: shows the layers of a disk and broken links."""

from typing import Any
from uuid import uuid4

from vhdx.chain.lineage import Link, LinkVerdict, Member, ancestry
from vhdx.cli.exits import Exit, Stop
from vhdx.cli.kinds import image_format
from vhdx.cli.looking.image_json import info_json, link_json
from vhdx.cli.options import format_option, image_argument, json_option, subcommand
from vhdx.cli.plain import escaped, size_text
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.reach import Reach
from vhdx.storage.base import FileSystem

BROKEN = {
    LinkVerdict.MISMATCH: "the file at the recorded path is not, or is no longer, the parent",
    LinkVerdict.MISSING: "the parent was not found",
    LinkVerdict.LOOP: "the chain is circular: the parent is this image or one of its children",
    LinkVerdict.TOO_DEEP: "the chain has too many layers",
    LinkVerdict.DENIED: "permission denied for a file that may be the parent",
}


@subcommand("chain")
@image_argument
@format_option
@json_option
def command(reach: Reach, *, image: str, format_name: str | None, as_json: bool) -> None:
    """Show the layers of IMAGE, leaf first, and how each parent was found.

    Siblings are other images in the parent's directory with the same parent: modifying the parent would make them
    unreadable. Exit code 2 means that a link is broken, 7 that access to a parent is denied.
    """
    with reach.place(image) as place:
        policy = reach.policy(place)
        format = image_format(format_name)
        members = list(ancestry(place.files, place.path, policy=policy, new_id=uuid4, format=format))
        if as_json:
            print_json({"layers": [_member_json(place.files, member) for member in members]})
        else:
            for number, member in enumerate(members):
                _print(place.files, number, member)
        link = members[-1].link
        if link is not None and link.verdict is not LinkVerdict.FOUND:
            name = place.files.describe(members[-1].path)
            code = Exit.NOT_ALLOWED if link.verdict is LinkVerdict.DENIED else Exit.DAMAGED
            raise Stop(code, f"{escaped(name)}: {BROKEN[link.verdict]}")


def _member_json(files: FileSystem, member: Member) -> dict[str, Any]:
    name = files.describe(member.path)
    result = info_json(files, name, member.info, member.status, member.link)
    if member.link is not None:
        siblings = member.siblings
        result["parent"] = {
            **link_json(files, member.link),
            "verdict": member.link.verdict.value,
            "key": member.link.key,
            "by_name": member.link.by_name,
            "problems": list(member.link.problems),
            "renamed": [files.describe(path) for path in member.link.renamed],
            "forced": list(member.link.forced),
            "siblings": None if siblings is None else [files.describe(path) for path in siblings],
        }
    return result


def _print(files: FileSystem, number: int, member: Member) -> None:
    info = member.info
    print_line(f"{number}  {files.describe(member.path)}")
    print_line(
        f"   {info.format.value} {info.type.value}, {size_text(info.virtual_size)} disk, "
        f"{size_text(member.status.size)} file, {size_text(member.status.allocated)} on disk"
    )
    if member.link is not None:
        for text in _link(files, member.link, member):
            print_line(f"   {text}")


def _link(files: FileSystem, link: Link, member: Member) -> list[str]:
    if link.verdict is not LinkVerdict.FOUND:
        renamed = [
            f"  {files.describe(path)} has the recorded id, so it is the parent under another name; "
            f"vhdx-img relink records it"
            for path in link.renamed
        ]
        state = "UNKNOWN" if link.verdict is LinkVerdict.DENIED else "BROKEN"
        return [f"{state}: {BROKEN[link.verdict]}", *(f"  {problem}" for problem in link.problems), *renamed]
    how = f"the file name in {link.key}" if link.by_name else link.key
    lines = [f"parent found by {how}, id matches"]
    if link.forced:
        lines.append(f"FORCED by vhdx-img relink --force, although {'; '.join(link.forced)}")
    if member.siblings is None:
        lines.append("siblings: the parent's directory cannot be listed")
    elif member.siblings:
        lines.append("siblings: " + ", ".join(files.describe(path) for path in member.siblings))
    return lines
