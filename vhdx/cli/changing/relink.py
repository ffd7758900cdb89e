"""``vhdx-img relink``: another file as the parent of an image."""

import posixpath

import click

from vhdx.cli.changing.elsewhere import tell_of_elsewhere
from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import layers_format_option, subcommand
from vhdx.cli.printing import print_line
from vhdx.cli.progress import Meter
from vhdx.cli.reach import Reach


@subcommand("relink")
@click.argument("child", shell_complete=file_names)
@click.argument("parent", shell_complete=file_names)
@layers_format_option
def command(reach: Reach, *, child: str, parent: str, format_name: str | None) -> None:
    """Record PARENT as the parent of CHILD, whatever was recorded before.

    Nobody can tell from the files whether PARENT holds what CHILD was made over: with any other content the disk of
    CHILD is rubbish. The content of both files stays as it is, so relinking to the right parent makes it good again.
    """
    with reach.place(child) as place, Meter("relink"):
        below = reach.beside(place, parent)
        elsewhere = posixpath.dirname(below)
        format = image_format(format_name)
        reach.engine(place, also=elsewhere).relink(place.files, place.path, below, format=format)
        print_line(f"{place.files.describe(place.path)}: its parent is {place.files.describe(below)}")
        tell_of_elsewhere(reach, place, below, format)
