"""``vhdx-inspect info``: shows the properties of an image and its parent."""

from uuid import uuid4

from vhdx.chain.lineage import Link, LinkVerdict, find_link, see
from vhdx.cli.kinds import image_format
from vhdx.cli.looking.image_json import info_json
from vhdx.cli.options import format_option, image_argument, json_option, subcommand
from vhdx.cli.plain import exact_size, size_text
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.reach import Reach
from vhdx.image.base import ImageFormat, ImageInfo, LogState
from vhdx.storage.base import FileStatus, FileSystem


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
        if as_json:
            print_json(info_json(place.files, name, info, status, link))
        else:
            _print(place.files, name, info, status, link)


def _print(files: FileSystem, name: str, info: ImageInfo, status: FileStatus, link: Link | None) -> None:
    rows = [
        ("image", name),
        ("format", f"{info.format.value}, {info.type.value}"),
        ("virtual size", exact_size(info.virtual_size)),
        ("file size", f"{exact_size(status.size)}, {size_text(status.allocated)} on disk"),
        ("block size", "none" if info.block_size is None else size_text(info.block_size)),
        ("sector sizes", f"{info.logical_sector_size} bytes logical, {info.physical_sector_size} physical"),
        ("disk id", str(info.disk_id or "none")),
        ("linkage", str(info.linkage or "none")),
        ("creator", info.creator or "not recorded"),
    ]
    if info.format is ImageFormat.VHDX:
        rows.append(("log", _log(info)))
    if link is not None:
        rows += _parent(files, link)
    rows += [("warning", warning) for warning in info.warnings]
    for label, text in rows:
        print_line(f"{label + ':' if label else '':<14} {text}")


def _log(info: ImageInfo) -> str:
    if info.log is LogState.CLEAN:
        return "clean"
    changes = f"{info.log_entries} entries" if info.log_entries != 1 else "1 entry"
    return f"dirty: {changes} to replay; the image is shown as after the replay"


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
