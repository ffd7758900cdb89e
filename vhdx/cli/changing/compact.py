"""``vhdx-img compact``: a smaller file for the same disk."""

import click

from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import format_option, json_option, subcommand
from vhdx.cli.plain import size_text
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.progress import Meter, quiet_option
from vhdx.cli.reach import Reach


@subcommand("compact")
@click.argument("image", shell_complete=file_names)
@click.option("--no-scan", is_flag=True, help="Do not look for blocks of zeros, which means reading every block.")
@format_option
@json_option
@quiet_option
def command(
    reach: Reach, *, image: str, no_scan: bool, format_name: str | None, as_json: bool, quiet: bool
) -> None:
    """Give back the space in IMAGE that its disk does not need.

    Blocks of zeros are dropped, blocks at the end of the file move into holes, and the file is cut. The disk reads the
    same throughout, so images over this one are not hurt. What a guest deleted is not zeros: let it trim, or overwrite
    free space with zeros, first.
    """
    advice = "the image is sound and reads as before; the same command again goes on"
    with reach.place(image) as place, Meter("compact", advice, quiet=quiet) as meter:
        before = place.files.stat(place.path)
        reach.engine(place).compact(
            place.files,
            place.path,
            scan=not no_scan,
            format=image_format(format_name),
            on_progress=meter.report,
        )
        after = place.files.stat(place.path)
        name = place.files.describe(place.path)
    if as_json:
        print_json({"path": name, "file_size_before": before.size, "file_size": after.size})
    else:
        print_line(f"{name}: {size_text(before.size)} became {size_text(after.size)}")
