"""``vhdx-inspect hash``: prints a hash of the content of a disk."""

import hashlib
import struct
from collections.abc import Callable

import click

from vhdx.chain.chain import Chain
from vhdx.cli.content import data_ranges, warn_of_shared
from vhdx.cli.kinds import image_format
from vhdx.cli.options import format_option, image_argument, json_option, subcommand
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.progress import Meter, progress_option, quiet_option
from vhdx.cli.reach import Reach
from vhdx.image.base import MIB, Progress

_PIECE = 4 * MIB
_ZEROS = bytes(_PIECE)


@subcommand("hash")
@image_argument
@click.option(
    "--sparse",
    is_flag=True,
    help="SHA-256 over offset (64 bits, little-endian) and content of every MiB that is not all zeros. Time depends on "
    "the allocated space, not on the disk size.",
)
@format_option
@json_option
@quiet_option
@progress_option
def command(
    reach: Reach,
    *,
    image: str,
    sparse: bool,
    format_name: str | None,
    as_json: bool,
    quiet: bool,
    progress: bool,
) -> None:
    """Print the SHA-256 of the disk in IMAGE, including its parents' data.

    The hash covers the disk's bytes and does not depend on the format. Holes are hashed as zeros without being read;
    --sparse skips them.
    """
    with reach.place(image) as place:
        engine = reach.engine(place)
        with (
            engine.open_chain(place.files, place.path, format=image_format(format_name)) as chain,
            Meter("hash", quiet=quiet, eager=progress) as meter,
        ):
            warn_of_shared(chain)
            digest = (sparse_sha256 if sparse else sha256)(chain, meter.report)
            name, size = place.files.describe(place.path), chain.size
    algorithm = "sparse-sha256" if sparse else "sha256"
    if as_json:
        print_json({"path": name, "algorithm": algorithm, "digest": digest, "virtual_size": size})
    else:
        print_line(f"{digest}  {name}")


def sha256(chain: Chain, on_progress: Progress) -> str:
    """The hash of the disk's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    done = 0
    for wanted in data_ranges(chain):
        _hash_zeros(digest.update, wanted.offset - done)
        for at in range(wanted.offset, wanted.end, _PIECE):
            on_progress(at, chain.size)
            digest.update(chain.read(at, min(_PIECE, wanted.end - at)))
        done = wanted.end
    _hash_zeros(digest.update, chain.size - done)
    return digest.hexdigest()


def _hash_zeros(update: Callable[[memoryview], object], length: int) -> None:
    for at in range(0, length, _PIECE):
        update(memoryview(_ZEROS)[: min(_PIECE, length - at)])


def sparse_sha256(chain: Chain, on_progress: Progress) -> str:
    """The hash of every MiB that is not all zeros, each after its offset."""
    digest = hashlib.sha256()
    done = 0
    for wanted in data_ranges(chain):
        for at in range(max(wanted.offset // MIB * MIB, done), wanted.end, MIB):
            piece = chain.read(at, min(MIB, chain.size - at))
            if piece.strip(b"\0"):
                digest.update(struct.pack("<Q", at))
                digest.update(piece)
            done = at + MIB
            on_progress(min(done, chain.size), chain.size)
    return digest.hexdigest()
