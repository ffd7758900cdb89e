"""``vhdx-inspect report``: all that is known of an image on one page that can be kept, sent and printed."""

from datetime import UTC, datetime
from importlib.metadata import version

import click

from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import format_option, image_argument, replace_option, subcommand
from vhdx.cli.output import Output
from vhdx.cli.pictures.page import html
from vhdx.cli.pictures.report import Subject, page
from vhdx.cli.plain import size_text
from vhdx.cli.printing import print_line
from vhdx.cli.reach import Reach


@subcommand("report")
@image_argument
@click.option(
    "-o", "--output", metavar="FILE", shell_complete=file_names, required=True,
    help="HTML file to write.",
)
@replace_option
@format_option
def command(reach: Reach, *, image: str, output: str, force: bool, format_name: str | None) -> None:
    """Write a page on IMAGE: its chain, which layer holds what, its structures, and what is wrong with it.

    The page is one file and needs no network and no scripts. Exit code 0 says that it was written; how the image is,
    damaged or not, is on the page.
    """
    with reach.place(image) as place, reach.place(output) as target:
        subject = Subject(place.files, place.path, reach.engine(place), image_format(format_name))
        out = Output(target, place, reach.policy(place), subject.format, force)
        out.refuse()
        subject.explore()
        made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        found = page(subject, made=made, version=version("vhdx"))
        content = html(found).encode()
        out.save(content)
        print_line(f"{out.name}: {size_text(len(content))} written; the image is {found.verdict.word}")
