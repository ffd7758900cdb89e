"""``vhdx-inspect info``: shows the properties of an image and its parent."""

from uuid import uuid4

from vhdx.chain.lineage import Link, LinkVerdict, find_link, see
from vhdx.cli.kinds import image_format
from vhdx.cli.looking.image_json import info_json
from vhdx.cli.looking.info_text import info_lines
from vhdx.cli.options import format_option, image_argument, json_option, subcommand
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.reach import Reach
from vhdx.storage.base import FileSystem


@subcommand("info")
@image_argument
@format_option
@json_option
def command(reach: Reach, *, image: str, format_name: str | None, as_json: bool) -> None:
    """Show the properties of IMAGE, and where its parent is.

    A missing parent is not an error. "On disk" is the space that the file system has allocated for the file.
    """
    with reach.place(image) as place:
        path = place.files.resolve(place.path)
        info, status = see(place.files, path, uuid4, image_format(format_name))
        link = find_link(place.files, path, info, policy=reach.policy(place), new_id=uuid4)
        name = place.files.describe(place.path)
        record = info_json(place.files, name, info, status, link)
        if as_json:
            print_json(record)
        else:
            for line in info_lines(record, () if link is None else _parent(place.files, link)):
                print_line(line)


def _parent(files: FileSystem, link: Link) -> list[tuple[str, str]]:
    recorded = [("parent", f"recorded as {key} {path}") for key, path in link.recorded.paths.items()]
    ids = str(link.recorded.linkage)
    if link.recorded.linkage2 is not None:
        ids += f" or {link.recorded.linkage2}"
    recorded.append(("parent id", ids))
    match link.verdict:
        case LinkVerdict.FOUND:
            assert link.path is not None
            forced = [("", f"FORCED although {difference}") for difference in link.forced]
            return [*recorded, ("parent found", files.describe(link.path)), *forced]
        case LinkVerdict.MISMATCH:
            heading = "a different file is at the recorded path"
        case LinkVerdict.DENIED:
            heading = "permission denied for the file at the recorded path"
        case _:
            heading = "no"
    return [*recorded, ("parent found", heading), *(("", problem) for problem in link.problems)]
