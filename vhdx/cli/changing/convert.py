"""``vhdx-img convert``: a disk into an image of another kind."""

import posixpath
from collections.abc import Iterator

import click

from vhdx.cli.changing.shape import block_size_option, sector_size_option, shape, type_option
from vhdx.cli.kinds import FORMAT, file_names, image_format
from vhdx.cli.options import force_option, subcommand
from vhdx.cli.plain import exact_size, size_text
from vhdx.cli.printing import print_line, print_warning
from vhdx.cli.progress import Meter, quiet_option
from vhdx.cli.reach import Reach
from vhdx.format.vhd_footer import LARGEST_AZURE, LARGEST_DISK
from vhdx.image.base import ImageFormat

AZURE_SIZES = "Azure takes whole MiB, and 20 of them at least"
_LARGEST_SYSTEM = 4095 << 30
_EXTENSIONS = {".vhd": "vhd", ".vhdx": "vhdx", ".raw": "raw", ".img": "raw"}


@subcommand("convert")
@click.argument("source", shell_complete=file_names)
@click.argument("target", shell_complete=file_names)
@click.option("-f", "--format", "source_format", type=FORMAT, help="What SOURCE is; a raw disk has to be called one.")
@click.option(
    "-O",
    "--output-format",
    "target_format",
    type=FORMAT,
    help="The format of TARGET, where its extension (.vhd, .vhdx, .raw, .img) does not say it or says another.",
)
@type_option
@block_size_option
@sector_size_option
@click.option("--azure", is_flag=True, help="A VHD as Azure takes it: fixed, rounded up to whole MiB, 20 at least.")
@click.option(
    "--scan-zeros",
    is_flag=True,
    help="Read everything, and leave out zeros that SOURCE stores; without it they are left out only where the data "
    "passes through here anyway. A fixed TARGET takes everything.",
)
@force_option
@quiet_option
def command(
    reach: Reach,
    *,
    source: str,
    target: str,
    source_format: str | None,
    target_format: str | None,
    kind: str | None,
    block_size: int | None,
    sector_size: int | None,
    azure: bool,
    scan_zeros: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Copy the disk in SOURCE, read through its parents, into a new image TARGET.

    SOURCE is only read. TARGET appears under its name when it is complete; until then it is a file NAME.xxxxxxxx.tmp.
    """
    named = target_format or _EXTENSIONS.get(posixpath.splitext(target)[1].lower()) or ("vhd" if azure else None)
    if named is None:
        raise click.UsageError(f"the extension of {target} names no format: give -O raw, -O vhd or -O vhdx")
    if azure and named != "vhd":
        raise click.UsageError(f"--azure makes a VHD, and {target} is to be a {named}: name it .vhd")
    if azure and kind == "dynamic":
        raise click.UsageError("Azure takes fixed images only: leave out -t dynamic")
    options = shape(ImageFormat(named), kind, block_size, sector_size, azure=azure)
    advice = "nothing is left of the copy"
    with reach.place(source) as one, reach.place(target) as other, Meter("convert", advice, quiet=quiet) as meter:
        engine = reach.engine(one)
        size = engine.info(one.files, one.path, format=image_format(source_format)).virtual_size
        for note in azure_notes(size) if azure else ():
            print_line(note)
        engine.convert(
            one.files,
            one.path,
            other.files,
            other.path,
            source_format=image_format(source_format),
            options=options,
            replace=force,
            scan_zeros=scan_zeros,
            on_progress=meter.report,
            on_warning=print_warning,
        )
        info = engine.info(other.files, other.path, format=ImageFormat(named))
        name = other.files.describe(other.path)
        print_line(f"{name}: {info.format.value}, {info.type.value}, {exact_size(info.virtual_size)}")
        if azure and size != info.virtual_size:
            print_line(f"{size_text(info.virtual_size - size)} of zeros were added: {AZURE_SIZES}")


def azure_notes(size: int) -> Iterator[str]:
    """What is to be known before a disk of *size* bytes goes to Azure; nothing of one that it does not take."""
    if size > LARGEST_AZURE:
        return
    if size > LARGEST_DISK:
        yield f"the disk is larger than {LARGEST_DISK >> 30:,} GiB: Azure takes such a VHD, Hyper-V cannot open it"
    if size > _LARGEST_SYSTEM:
        yield f"the disk is larger than {_LARGEST_SYSTEM >> 30:,} GiB: Azure takes it for data, not for a system"
