"""``vhdx-img replay``: the log of a VHDX put where it belongs."""

from vhdx.cli.kinds import image_format
from vhdx.cli.options import format_option, image_argument, subcommand
from vhdx.cli.printing import print_line
from vhdx.cli.progress import Meter
from vhdx.cli.reach import Reach


@subcommand("replay")
@image_argument
@format_option
def command(reach: Reach, *, image: str, format_name: str | None) -> None:
    """Replay the log of IMAGE, as any program does that opens it for writing.

    A log to replay is left when a machine stops while it writes. The disk reads the same before and after.
    """
    with reach.place(image) as place, Meter("replay"):
        done = reach.engine(place).replay(place.files, place.path, format=image_format(format_name))
        name = place.files.describe(place.path)
        print_line(f"{name}: {'the log was replayed' if done else 'nothing to replay'}")
