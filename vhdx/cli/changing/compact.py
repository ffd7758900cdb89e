"""``vhdx-img compact``: reduces the file size of an image."""

import click

from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import format_option, json_option, subcommand
from vhdx.cli.plain import size_text
from vhdx.cli.printing import print_result
from vhdx.cli.progress import Meter, progress_option, silent_option
from vhdx.cli.reach import Reach


@subcommand("compact")
@click.argument("image", shell_complete=file_names)
@click.option("--no-scan", is_flag=True, help="Do not read the blocks to find those that are all zeros.")
@format_option
@json_option
@silent_option
@progress_option
def command(
    reach: Reach, *, image: str, no_scan: bool, format_name: str | None, as_json: bool, quiet: bool, progress: bool
) -> None:
    """Free unused space in IMAGE.

    Blocks of zeros are freed, blocks at the end of the file are moved to free space, and the file is truncated. The
    disk content does not change, so children of this image stay valid. Deleted files of a guest are not zeros: trim
    the guest's file systems, or overwrite their free space with zeros, first.
    """
    advice = "the image is valid and its content unchanged; run the same command again to continue"
    with reach.place(image) as place, Meter("compact", advice, quiet=quiet, eager=progress) as meter:
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
    record = {"path": name, "file_size_before": before.size, "file_size": after.size}
    lines = [f"{name}: compacted from {size_text(before.size)} to {size_text(after.size)}"]
    print_result(record, lines, as_json=as_json, quiet=quiet)
