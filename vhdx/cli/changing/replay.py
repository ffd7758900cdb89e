"""``vhdx-img replay``: replays the log of a VHDX."""

from vhdx.cli.kinds import image_format
from vhdx.cli.options import format_option, image_argument, json_option, subcommand
from vhdx.cli.printing import print_result
from vhdx.cli.progress import Meter, silent_option
from vhdx.cli.reach import Reach


@subcommand("replay")
@image_argument
@format_option
@json_option
@silent_option
def command(reach: Reach, *, image: str, format_name: str | None, as_json: bool, quiet: bool) -> None:
    """Replay the log of IMAGE, as every program does that opens it for writing.

    A crash during writing leaves a log to replay. The disk content is the same before and after.
    """
    with reach.place(image) as place, Meter("replay"):
        done = reach.engine(place).replay(place.files, place.path, format=image_format(format_name))
        name = place.files.describe(place.path)
    lines = [f"{name}: {'log replayed' if done else 'nothing to replay'}"]
    print_result({"path": name, "replayed": done}, lines, as_json=as_json, quiet=quiet)
