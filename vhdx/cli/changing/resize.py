"""``vhdx-img resize``: changes the disk size."""

import click

from vhdx.cli.changing.shrinking import shrinking
from vhdx.cli.kinds import NEW_SIZE, file_names, image_format
from vhdx.cli.options import any_size_option, format_option, json_option, orphan_option, subcommand
from vhdx.cli.plain import exact_size
from vhdx.cli.printing import print_result
from vhdx.cli.progress import Meter, silent_option
from vhdx.cli.reach import Reach


@subcommand("resize")
@click.argument("image", shell_complete=file_names)
@click.argument("size", type=NEW_SIZE)
@click.option("--shrink", is_flag=True, help="Allow the disk to shrink if the removed end reads as zeros.")
@click.option("--force", is_flag=True, help="With --shrink: also remove data, which is lost.")
@orphan_option
@any_size_option
@format_option
@json_option
@silent_option
def command(
    reach: Reach,
    *,
    image: str,
    size: tuple[int, bool],
    shrink: bool,
    force: bool,
    orphan: bool,
    any_size: bool,
    format_name: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Resize the disk in IMAGE to SIZE bytes, or by SIZE bytes if it starts with +.

    Added space reads as zeros. Partitions and file systems are not resized: grow them in the guest afterwards, shrink
    them before.
    """
    way = shrinking(shrink=shrink, force=force)
    length, added = size
    with reach.place(image) as place, Meter("resize"):
        engine = reach.engine(place)
        format = image_format(format_name)
        before = engine.info(place.files, place.path, format=format).virtual_size
        wanted = before + length if added else length
        engine.resize(
            place.files, place.path, wanted, shrink=way, orphan=orphan, any_size=any_size, format=format
        )
        name = place.files.describe(place.path)
    record = {"path": name, "virtual_size_before": before, "virtual_size": wanted}
    lines = [f"{name}: resized from {exact_size(before)} to {exact_size(wanted)}"]
    print_result(record, lines, as_json=as_json, quiet=quiet)
