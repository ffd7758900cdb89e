"""``vhdx-inspect map``: shows the allocation of a disk as text, as JSON like qemu-img, or as an image."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from uuid import uuid4

import click

from vhdx.chain.chain import Chain
from vhdx.chain.parents import Layer
from vhdx.cli.content import warn_of_shared
from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import format_option, image_argument, json_option, replace_option, subcommand
from vhdx.cli.output import Output
from vhdx.cli.plain import size_text
from vhdx.cli.printing import print_line, print_list
from vhdx.cli.reach import Reach
from vhdx.extents import Extent, Presence
from vhdx.image.base import DiskType, ImageFormat, ImageInfo
from vhdx.image.open import open_image
from vhdx.location import Place
from vhdx.storage.base import Access

_KEYS = ("start", "length", "depth", "present", "zero", "data")


class Mapped(NamedTuple):
    """A range of the disk, with the keys of ``qemu-img map``.

    *zero*: it reads as zeros; *data*: it is allocated in a file, at *offset*.
    """

    start: int
    length: int
    depth: int
    present: bool
    zero: bool
    data: bool
    offset: int | None

    def goes_on_in(self, other: "Mapped") -> bool:
        """Whether *other*, the next range, can be joined to this one."""
        follows = None if self.offset is None else self.offset + self.length
        return self[2:6] == other[2:6] and follows == other.offset


@subcommand("map")
@image_argument
@click.option("--layer", is_flag=True, help="Only IMAGE itself, without its parents.")
@click.option("--svg", metavar="FILE", shell_complete=file_names, help="Draw the layers to an SVG file.")
@click.option("--png", metavar="FILE", shell_complete=file_names, help="Draw the layers to a PNG file (vhdx[png]).")
@click.option("--heat", is_flag=True, help="Draw the layers on the terminal.")
@replace_option
@format_option
@json_option
def command(
    reach: Reach,
    *,
    image: str,
    layer: bool,
    svg: str | None,
    png: str | None,
    heat: bool,
    force: bool,
    format_name: str | None,
    as_json: bool,
) -> None:
    """Show where each range of the disk in IMAGE is stored.

    The JSON has the format of qemu-img map --output=json: depth is the layer, 0 being IMAGE; offset is the file offset
    in that layer. Drawings show all layers.
    """
    if svg is not None and svg == png:
        raise click.UsageError("--svg and --png must name different files")
    format = image_format(format_name)
    with ExitStack() as stack:
        place = stack.enter_context(reach.place(image))

        def output(name: str | None) -> Output | None:
            if name is None:
                return None
            target = stack.enter_context(reach.place(name))
            made = Output(target, place, reach.policy(place), format, force)
            made.refuse()
            return made

        out = output(svg), output(png)
        chain = stack.enter_context(_opened(reach, place, format, alone=layer))
        warn_of_shared(chain)
        names = [place.files.describe(one.path) for one in chain.layers]
        if svg or png or heat:
            _draw(chain, names, *out, heat=heat)
            return
        found = joined(mapped(chain))
        if as_json:
            print_list(_record(one, names) for one in found)
        else:
            _print(found, names)


def _opened(reach: Reach, place: Place, format: ImageFormat | None, *, alone: bool) -> Chain:
    """The disk, or only its top layer, which opens without its parents."""
    if not alone:
        return reach.engine(place).open_chain(place.files, place.path, format=format)
    storage = place.files.open(place.path, Access.READ)
    return Chain([Layer(place.path, open_image(storage, new_id=uuid4, format=format))])


def mapped(chain: Chain) -> Iterator[Mapped]:
    """The ranges of the whole disk, ascending."""
    images = [image.info for image in chain.images]
    base = images[-1]
    # A VHD cannot mark a block as never written: without a parent it is zeros, and thus present.
    absent_is_zero = base.format is ImageFormat.VHD and base.type is not DiskType.DIFFERENCING
    for number, extent in chain.extents(0, chain.size):
        match extent.presence:
            case Presence.DATA:
                place = extent.file_offset
                yield Mapped(extent.offset, extent.length, number, present=True, zero=False, data=True, offset=place)
            case Presence.ZERO:
                yield _empty(extent, images[number], number, present=True)
            case Presence.NOT_PRESENT:
                yield _empty(extent, base, len(images) - 1, present=absent_is_zero)


def _empty(extent: Extent, holder: ImageInfo, depth: int, *, present: bool) -> Mapped:
    """A range of zeros without data; in a raw or fixed image it is a hole with a file offset."""
    plain = holder.type is DiskType.FIXED and holder.format is not ImageFormat.VHDX
    hole = plain and extent.end <= holder.virtual_size
    place = extent.offset if hole else None
    return Mapped(extent.offset, extent.length, depth, present or hole, zero=True, data=hole, offset=place)


def joined(found: Iterator[Mapped]) -> Iterator[Mapped]:
    """Adjacent ranges with equal properties joined."""
    pending: Mapped | None = None
    for one in found:
        if pending is not None and pending.goes_on_in(one):
            pending = pending._replace(length=pending.length + one.length)
            continue
        if pending is not None:
            yield pending
        pending = one
    if pending is not None:
        yield pending


def _record(one: Mapped, names: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(one, name) for name in _KEYS}
    if one.offset is not None:
        record |= {"offset": one.offset, "filename": names[one.depth]}
    return record


def _print(found: Iterator[Mapped], names: list[str]) -> None:
    for number, name in enumerate(names):
        print_line(f"layer {number}: {name}")
    print_line(f"{'start':>16} {'length':>16}  {'':<10} layer  what")
    for one in found:
        if one.data:
            what = f"file offset {one.offset:#x}" + (", hole" if one.zero else "")
        else:
            what = "zeros" if one.present else "never written"
        where = str(one.depth) if one.present else "-"
        print_line(f"{one.start:#16x} {one.length:#16x}  {size_text(one.length):<10} {where:>5}  {what}")


def _draw(chain: Chain, names: list[str], svg: Output | None, png: Output | None, *, heat: bool) -> None:
    from vhdx.cli import pictures  # noqa: PLC0415  a map without pictures needs nothing of it

    found = pictures.survey(chain, names)
    if svg:
        _save(svg, pictures.svg(found).encode())
    if png:
        _save(png, pictures.png(found))
    if heat:
        width = min(shutil.get_terminal_size().columns, 200)
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        wide = (sys.stdout.encoding or "").lower().startswith("utf")
        for text in pictures.terminal(found, width, color=color, unicode=wide):
            click.echo(text)


def _save(output: Output, content: bytes) -> None:
    output.save(content)
    print_line(f"{output.name}: {size_text(len(content))} written")
