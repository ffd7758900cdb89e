"""``vhdx-img replay``: replays the log of a VHDX."""

from vhdx.cli.kinds import image_format
from vhdx.cli.options import format_option, image_argument, subcommand
from vhdx.cli.printing import print_line
from vhdx.cli.progress import Meter
from vhdx.cli.reach import Reach


@subcommand("replay")
@image_argument
@format_option
def command(reach: Reach, *, image: str, format_name: str | None) -> None:
    """Replay the log of IMAGE, as every program does that opens it for writing.

    A crash during writing leaves a log to replay. The disk content is the same before and after.
    """
    with reach.place(image) as place, Meter("replay"):
        done = reach.engine(place).replay(place.files, place.path, format=image_format(format_name))
        name = place.files.describe(place.path)
        print_line(f"{name}: {'log replayed' if done else 'nothing to replay'}")
