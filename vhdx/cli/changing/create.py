"""``vhdx-img create``: creates an empty image."""

import posixpath
from typing import Any, NamedTuple

import click

from vhdx.cli.changing.elsewhere import notes_of_elsewhere
from vhdx.cli.changing.shape import block_size_option, sector_size_option, shape, type_option
from vhdx.cli.exits import Exit, Stop
from vhdx.cli.kinds import SIZE, file_names, image_format
from vhdx.cli.options import any_size_option, force_option, json_option, subcommand
from vhdx.cli.plain import escaped, exact_size
from vhdx.cli.printing import print_result
from vhdx.cli.progress import Meter, silent_option
from vhdx.cli.reach import Reach
from vhdx.errors import AnotherFormat, Unrecognised
from vhdx.image.base import ImageFormat
from vhdx.location import Place

_EXTENSIONS = {".vhd": "vhd", ".avhd": "vhd", ".vhdx": "vhdx", ".avhdx": "vhdx"}


@subcommand("create")
@click.argument("path", shell_complete=file_names)
@click.argument("size", type=SIZE, required=False)
@click.option(
    "-f",
    "--format",
    "format_name",
    type=click.Choice(["vhdx", "vhd"]),
    help="Format of the image (default: from its extension .vhd, .avhd, .vhdx or .avhdx).",
)
@type_option
@block_size_option
@sector_size_option
@click.option(
    "-b", "--backing", "parent", metavar="PARENT", shell_complete=file_names,
    help="Create a differencing image with PARENT as its parent.",
)
@any_size_option
@click.option(
    "-F",
    "--parent-format",
    type=click.Choice(["vhdx", "vhd"]),
    help="Format of PARENT (default: detected).",
)
@force_option
@json_option
@silent_option
def command(
    reach: Reach,
    *,
    path: str,
    size: int | None,
    format_name: str | None,
    kind: str | None,
    block_size: int | None,
    sector_size: int | None,
    parent: str | None,
    any_size: bool,
    parent_format: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Create an empty image of SIZE bytes at PATH.

    SIZE is in bytes, or with K, M, G, T (or KiB, MiB, GiB, TiB), powers of 1024, such as 1.5G. With PARENT it may be
    omitted: the default is the parent's size. PARENT is relative to the current directory; the image records it
    relative to its own directory.
    """
    with reach.place(path) as place, Meter("create"):
        if parent is not None:
            if kind or block_size is not None or sector_size is not None:
                raise click.UsageError("a differencing image has its parent's layout: omit -t and the sizes")
            below = _Parent(parent, image_format(parent_format))
            made = _create_child(reach, place, below, size, format_name, any_size=any_size, force=force)
            print_result(*made, as_json=as_json, quiet=quiet)
            return
        if any_size:
            raise click.UsageError("--any-size requires -b")
        if parent_format is not None:
            raise click.UsageError("-F requires -b")
        if size is None:
            raise click.UsageError("a disk without a parent requires a SIZE")
        named = format_name or _EXTENSIONS.get(posixpath.splitext(place.path)[1].lower())
        if named is None:
            raise click.UsageError(f"unknown extension of {path}: specify the format with -f vhdx or -f vhd")
        options = shape(ImageFormat(named), kind, block_size, sector_size)
        reach.engine(place).create(place.files, place.path, size, options, replace=force)
        record = _record(place, ImageFormat(named), "fixed" if options.fixed else "dynamic", size)
        lines = [f"{record['path']}: {named}, {record['type']}, {exact_size(size)}"]
        print_result(record, lines, as_json=as_json, quiet=quiet)


def _record(place: Place, format: ImageFormat, kind: str, size: int) -> dict[str, Any]:
    return {
        "path": place.files.describe(place.path),
        "format": format.value,
        "type": kind,
        "virtual_size": size,
        "parent": None,
        "notes": [],
    }


class _Parent(NamedTuple):
    name: str
    said: ImageFormat | None


def _create_child(
    reach: Reach,
    place: Place,
    parent: _Parent,
    size: int | None,
    format_name: str | None,
    *,
    any_size: bool,
    force: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Create it; what is to be printed, as a record and as lines."""
    below = place.files.resolve(reach.beside(place, parent.name))
    engine = reach.engine(place, also=posixpath.dirname(below))
    try:
        info = engine.info(place.files, below, format=parent.said)
    except AnotherFormat:
        raise  # no option helps, and the message contains the remedy
    except Unrecognised as error:
        remedy = "a raw disk cannot be a parent; otherwise specify the format with -F vhd or -F vhdx"
        raise Stop(Exit.DAMAGED, f"{escaped(str(error))}; {remedy}") from error
    wanted = format_name or _EXTENSIONS.get(posixpath.splitext(place.path)[1].lower())
    if wanted is not None and wanted != info.format.value:
        raise click.UsageError(
            f"{parent.name} is a {info.format.value}, and a child must have its parent's format: use the extension "
            f".{info.format.value}, or -f {info.format.value}"
        )
    engine.create_child(
        place.files, place.path, below, size=size, any_size=any_size, parent_format=parent.said, replace=force
    )
    found, notes = place.files.describe(below), notes_of_elsewhere(reach, place, below, info.format)
    record = _record(place, info.format, "differencing", info.virtual_size if size is None else size)
    line = f"{record['path']}: {info.format.value}, differencing, parent {found}"
    return {**record, "parent": found, "notes": notes}, [line, *notes]
