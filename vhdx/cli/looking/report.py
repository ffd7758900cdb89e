"""``vhdx-inspect report``: all that is known of an image on one page that can be kept, sent and printed."""

from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from uuid import uuid4

import click

from vhdx.building import building
from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import force_option, format_option, image_argument, subcommand
from vhdx.cli.pictures.page import html
from vhdx.cli.pictures.report import Subject, page
from vhdx.cli.plain import size_text
from vhdx.cli.printing import print_line
from vhdx.cli.reach import Reach
from vhdx.errors import Error
from vhdx.location import Place


@subcommand("report")
@image_argument
@click.option(
    "-o", "--output", metavar="FILE", shell_complete=file_names, required=True,
    help="Where the page goes: the name of an HTML file.",
)
@force_option
@format_option
def command(reach: Reach, *, image: str, output: str, force: bool, format_name: str | None) -> None:
    """Write a page on IMAGE: its chain, which layer holds what, its structures, and what is wrong with it.

    The page is one file and needs no network and no scripts. Exit code 0 says that it was written; how the image is,
    damaged or not, is on the page.
    """
    with reach.place(image) as place, reach.place(output) as target:
        subject = Subject(place.files, place.path, reach.engine(place), image_format(format_name))
        subject.explore()
        _refuse(subject, target, force=force)
        made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        found = page(subject, made=made, version=version("vhdx"))
        content = html(found).encode()
        with building(target.files, target.path, token=uuid4().hex[:8], replace=force) as storage:
            storage.write([(0, content)])
            storage.flush()
            storage.close()
        name = target.files.describe(target.path)
        print_line(f"{name}: {size_text(len(content))} written; the image is {found.verdict.word}")


def _refuse(subject: Subject, target: Place, *, force: bool) -> None:
    """Find out before the work whether the page may have its name. Raises Error, FileExistsError."""
    with suppress(FileNotFoundError):
        identity = target.files.stat(target.path).identity
        name = target.files.describe(target.path)
        if identity in subject.identities:
            raise Error(f"{name}: a layer of the image itself; give the page another name")
        if not force:
            raise FileExistsError(f"{name} exists already")
