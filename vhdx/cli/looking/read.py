"""``vhdx-inspect read``: shows bytes of a disk."""

import sys
from collections.abc import Iterator

import click

from vhdx.chain.chain import Chain
from vhdx.cli.exits import Exit, Stop
from vhdx.cli.kinds import SIZE, image_format
from vhdx.cli.options import format_option, image_argument, subcommand
from vhdx.cli.reach import Reach
from vhdx.errors import Error

_PIECE = 1 << 20
_LINE = 16
_LETTERS = bytes(byte if 32 <= byte < 127 else ord(".") for byte in range(256))


@subcommand("read")
@image_argument
@click.argument("offset", type=SIZE)
@click.argument("length", type=SIZE)
@click.option("--raw", is_flag=True, help="Write raw bytes to standard output.")
@format_option
def command(
    reach: Reach,
    *,
    image: str,
    offset: int,
    length: int,
    raw: bool,
    format_name: str | None,
) -> None:
    """Show LENGTH bytes at OFFSET of the disk in IMAGE, including its parents' data.

    Both are in bytes: decimal, hexadecimal after 0x, or with K, M, G, T. Repeated lines are replaced by a *.
    """
    if raw and sys.stdout.isatty():
        raise Stop(Exit.USAGE, "read --raw: refusing to write to the terminal; redirect standard output")
    with reach.place(image) as place:
        engine = reach.engine(place)
        with engine.open_chain(place.files, place.path, format=image_format(format_name)) as chain:
            name = place.files.describe(place.path)
            if offset + length > chain.size:
                raise Error(f"{name}: {length} bytes at {offset} extend beyond end of disk ({chain.size} bytes)")
            pieces = _pieces(chain, offset, length)
            if raw:
                for _, piece in pieces:
                    sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
            else:
                for text in hex_lines(pieces, offset + length):
                    click.echo(text)


def _pieces(chain: Chain, offset: int, length: int) -> Iterator[tuple[int, bytes]]:
    for at in range(offset, offset + length, _PIECE):
        yield at, chain.read(at, min(_PIECE, offset + length - at))


def hex_lines(pieces: Iterator[tuple[int, bytes]], end: int) -> Iterator[str]:
    """A hex dump: offsets, bytes, characters; the last line is the end offset."""
    before, repeated = b"", False
    for start, piece in pieces:
        for at in range(0, len(piece), _LINE):
            row = piece[at : at + _LINE]
            if row == before:
                if not repeated:
                    yield "*"
                repeated = True
                continue
            before, repeated = row, False
            left, right = row[:8].hex(" "), row[8:].hex(" ")
            yield f"{start + at:#014x}  {left:<23}  {right:<23}  |{row.translate(_LETTERS).decode()}|"
    yield f"{end:#014x}"
