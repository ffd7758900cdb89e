"""``vhdx-inspect report``: writes all information about an image to an HTML page."""

from datetime import UTC, datetime

import click

from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import format_option, image_argument, json_option, replace_option, subcommand
from vhdx.cli.output import Output
from vhdx.cli.pictures.page import html
from vhdx.cli.pictures.report import Subject, page
from vhdx.cli.plain import size_text
from vhdx.cli.printing import print_result
from vhdx.cli.reach import Reach
from vhdx.version import VERSION


@subcommand("report")
@image_argument
@click.option(
    "-o", "--output", metavar="FILE", shell_complete=file_names, required=True,
    help="HTML file to write.",
)
@replace_option
@format_option
@json_option
def command(
    reach: Reach, *, image: str, output: str, force: bool, format_name: str | None, as_json: bool
) -> None:
    """Write an HTML page about IMAGE: chain, allocation by layer, structures and findings.

    The page is self-contained and has no scripts. Exit code 0 means that it was written, even if the image is damaged.
    """
    with reach.place(image) as place, reach.place(output) as target:
        subject = Subject(place.files, place.path, reach.engine(place), image_format(format_name))
        out = Output(target, place, reach.policy(place), subject.format, force)
        out.refuse()
        subject.explore()
        made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        found = page(subject, made=made, version=VERSION)
        content = html(found).encode()
        out.save(content)
        record = {"path": place.files.describe(place.path), "output": out.name, "result": found.verdict.word}
        lines = [f"{out.name}: {size_text(len(content))} written; the image is {found.verdict.word}"]
    print_result(record, lines, as_json=as_json)
