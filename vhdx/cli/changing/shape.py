"""Options for the type and layout of a new image."""

import click

from vhdx.cli.kinds import SIZE
from vhdx.image.base import CreateOptions, ImageFormat

type_option = click.option(
    "-t", "--type", "kind", type=click.Choice(["dynamic", "fixed"]), help="Allocate space on demand (dynamic, the "
    "default) or all of it immediately (fixed)."
)
block_size_option = click.option(
    "--block-size", type=SIZE, help="Block size. VHDX: a power of two from 1M to 256M (default 32M). VHD: a power of "
    "two from 4K to 256M (default 2M)."
)
sector_size_option = click.option(
    "--sector-size", type=SIZE, help="Logical sector size: 512, or 4096 for vhdx."
)


def shape(
    format: ImageFormat, kind: str | None, block_size: int | None, sector_size: int | None, *, azure: bool = False
) -> CreateOptions:
    """The options as `CreateOptions`. Raises UsageError for contradictory options."""
    if format is ImageFormat.RAW and (kind or block_size is not None or sector_size is not None):
        raise click.UsageError("a raw disk has no type or block size: omit -t and the sizes")
    if (azure or kind == "fixed") and block_size is not None and format is ImageFormat.VHD:
        raise click.UsageError("a fixed VHD has no blocks: omit --block-size")
    return CreateOptions(
        format=format,
        fixed=kind == "fixed" or azure,
        azure=azure,
        block_size=block_size,
        logical_sector_size=sector_size,
    )
