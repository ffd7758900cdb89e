"""``vhdx-img write``: writes bytes to a disk."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from vhdx.chain.chain import Chain
from vhdx.cli.kinds import SIZE, file_names, image_format
from vhdx.cli.options import format_option, json_option, orphan_option, subcommand
from vhdx.cli.plain import size_text
from vhdx.cli.printing import print_result
from vhdx.cli.progress import Meter, progress_option, silent_option
from vhdx.cli.reach import Reach
from vhdx.errors import Error
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem

_PIECE = 8 << 20


@subcommand("write")
@click.argument("image", shell_complete=file_names)
@click.argument("offset", type=SIZE)
@click.option(
    "--from", "source", metavar="FILE", shell_complete=file_names,
    help="Read the bytes from this file (default: standard input).",
)
@orphan_option
@format_option
@json_option
@silent_option
@progress_option
def command(
    reach: Reach,
    *,
    image: str,
    offset: int,
    source: str | None,
    orphan: bool,
    format_name: str | None,
    as_json: bool,
    quiet: bool,
    progress: bool,
) -> None:
    """Write bytes at OFFSET to the disk in IMAGE.

    Data that would extend beyond end of disk is refused before anything is written. If the command is interrupted, the
    remaining sectors are unchanged.
    """
    advice = "data written so far may or may not be on disk"
    with reach.place(image) as place, Meter("write", advice, quiet=quiet, eager=progress) as meter:
        engine = reach.engine(place)
        format = image_format(format_name)
        with engine.open_chain(place.files, place.path, writable=1, orphan=orphan, format=format) as chain:
            name = place.files.describe(place.path)
            if source is not None:
                _refuse_itself(place.files, place.path, source)
            most = max(0, chain.size - offset)
            with _bytes_from(source, most) as (file, length):
                if length > most:
                    raise Error(f"{name}: {_overrun(length, most, offset, chain.size)}; nothing was written")
                _copy(file, chain, offset, length, meter)
            chain.flush()
    record = {"path": name, "offset": offset, "length": length}
    print_result(record, [f"{name}: {size_text(length)} written at {offset}"], as_json=as_json, quiet=quiet)


def _refuse_itself(files: FileSystem, image: str, source: str) -> None:
    """Raises Error when *source* is the image itself: it would change while it is read."""
    path = Path(source).absolute()
    # A pipe is not an image, and must not be opened twice.
    if path.is_file() and LocalFileSystem(path.parent).stat(path.name).identity == files.stat(image).identity:
        raise Error(f"{source}: is the target image itself")


def _overrun(length: int, most: int, offset: int, size: int) -> str:
    """The message for *length* bytes at *offset*; a stream is counted only to the first byte too many."""
    what = f"more than {most} bytes" if length == most + 1 else f"{length} bytes"
    return f"{what} at {offset} extend beyond end of disk ({size} bytes)"


def _copy(file: BinaryIO, chain: Chain, offset: int, length: int, meter: Meter) -> None:
    done = 0
    while done < length:
        piece = file.read(min(_PIECE, length - done))
        if not piece:
            raise Error(f"the source ended after {done} of {length} bytes; those were written")
        chain.write(offset + done, piece)
        done += len(piece)
        meter.report(done, length)


@contextmanager
def _bytes_from(source: str | None, most: int) -> Iterator[tuple[BinaryIO, int]]:
    """A file and its length; a stream is first spooled, up to one byte more than *most*."""
    if source is not None:
        with Path(source).open("rb") as file:
            if file.seekable():
                yield file, os.fstat(file.fileno()).st_size
            else:
                yield from _spooled(file, most)
    elif sys.stdin is None:
        raise Error("standard input is closed; use --from FILE")
    else:
        yield from _spooled(sys.stdin.buffer, most)


def _spooled(stream: BinaryIO, most: int) -> Iterator[tuple[BinaryIO, int]]:
    with tempfile.SpooledTemporaryFile(max_size=_PIECE) as spool:
        left = most + 1
        while left and (piece := stream.read(min(_PIECE, left))):
            spool.write(piece)
            left -= len(piece)
        length = spool.tell()
        spool.seek(0)
        yield spool, length  # type: ignore[misc]  # it has all methods that are used
