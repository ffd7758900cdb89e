"""``vhdx-img convert``: a disk into an image of another kind."""

import errno
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

import click

from vhdx.cli.changing.salvaged import end_salvage, salvage_json, salvage_lines
from vhdx.cli.changing.shape import block_size_option, sector_size_option, shape, type_option
from vhdx.cli.exits import Exit, Stop, exit_code, reason
from vhdx.cli.kinds import FORMAT, file_names, image_format
from vhdx.cli.options import force_option, json_option, subcommand
from vhdx.cli.plain import exact_size, size_text
from vhdx.cli.printing import print_json, print_line, print_warning
from vhdx.cli.progress import Meter, quiet_option
from vhdx.cli.reach import Reach
from vhdx.errors import FormatError, ParentMismatch, ParentNotFound, Unrecognised
from vhdx.format.vhd_footer import LARGEST_AZURE, LARGEST_DISK
from vhdx.image.base import ImageFormat, ImageInfo
from vhdx.location import Place
from vhdx.salvage.report import Salvaged

AZURE_SIZES = "Azure takes whole MiB, and 20 of them at least"
_LARGEST_SYSTEM = 4095 << 30
_EXTENSIONS = {".vhd": "vhd", ".vhdx": "vhdx", ".raw": "raw", ".img": "raw"}


@subcommand("convert")
@click.argument("source", shell_complete=file_names)
@click.argument("target", shell_complete=file_names)
@click.option("-f", "--format", "source_format", type=FORMAT, help="Format of SOURCE; raw must be given explicitly.")
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
@click.option(
    "--salvage", is_flag=True,
    help="Copy what can be read of a damaged SOURCE; lost ranges are listed and read as zeros in TARGET.",
)
@click.option(
    "--without-parent", is_flag=True,
    help="With --salvage: continue when a parent is missing or unusable. Data that only the parent has is lost.",
)
@force_option
@quiet_option
@json_option
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
    salvage: bool,
    without_parent: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Copy the disk in SOURCE, read through its parents, into a new image TARGET.

    SOURCE is only read. TARGET appears under its name when it is complete; until then it is a file NAME.xxxxxxxx.tmp.

    With --salvage exit code 0 means that all of the disk is there; 8 that parts are lost, or that damaged structures
    had to be used.
    """
    if without_parent and not salvage:
        raise click.UsageError("--without-parent requires --salvage")
    named = target_format or _EXTENSIONS.get(posixpath.splitext(target)[1].lower()) or ("vhd" if azure else None)
    if named is None:
        raise click.UsageError(f"the extension of {target} names no format: give -O raw, -O vhd or -O vhdx")
    if azure and named != "vhd":
        remedy = "name it .vhd" if target_format is None else f"omit -O {target_format}"
        raise click.UsageError(f"--azure makes a VHD, and {target} is to be {named}: {remedy}")
    if azure and kind == "dynamic":
        raise click.UsageError("Azure takes fixed images only: omit -t dynamic")
    options = shape(ImageFormat(named), kind, block_size, sector_size, azure=azure)
    advice = "the incomplete copy was removed"
    with reach.place(source) as one, reach.place(target) as other, Meter("convert", advice, quiet=quiet) as meter:
        engine = reach.engine(one)
        format = image_format(source_format)
        report = None
        if salvage:
            with _naming_without_parent():
                report = engine.salvage(
                    one.files,
                    one.path,
                    other.files,
                    other.path,
                    source_format=format,
                    options=options,
                    replace=force,
                    without_parent=without_parent,
                    on_progress=meter.report,
                )
        else:
            with _naming_salvage(other):
                if azure and not as_json:
                    _print_azure_notes(engine.info(one.files, one.path, format=format).virtual_size)
                engine.convert(
                    one.files,
                    one.path,
                    other.files,
                    other.path,
                    source_format=format,
                    options=options,
                    replace=force,
                    scan_zeros=scan_zeros,
                    on_progress=meter.report,
                    on_warning=print_warning,
                )
        info = engine.info(other.files, other.path, format=ImageFormat(named))
        name, origin = other.files.describe(other.path), one.files.describe(one.path)
        size = report.size if report is not None else engine.info(one.files, one.path, format=format).virtual_size
    added = info.virtual_size - size
    if as_json:
        _print_json(origin, name, info, added, report)
    else:
        _print_lines(origin, name, info, added, report)
    if report is not None:
        end_salvage(origin, report)


def _print_json(source: str, target: str, info: ImageInfo, added: int, report: Salvaged | None) -> None:
    print_json(
        {
            "source": source,
            "target": target,
            "format": info.format.value,
            "type": info.type.value,
            "virtual_size": info.virtual_size,
            "added": added,
            "salvage": None if report is None else salvage_json(report),
        }
    )


def _print_lines(source: str, target: str, info: ImageInfo, added: int, report: Salvaged | None) -> None:
    print_line(f"{target}: {info.format.value}, {info.type.value}, {exact_size(info.virtual_size)}")
    if added:
        print_line(f"{size_text(added)} of zeros were added: {AZURE_SIZES}")
    for line in () if report is None else salvage_lines(source, report):
        print_line(line)


@contextmanager
def _naming_without_parent() -> Iterator[None]:
    """Name the way out where a parent is missing."""
    try:
        yield
    except (ParentNotFound, ParentMismatch) as error:
        text = f"{reason(error)}; --without-parent takes what the image itself holds"
        raise Stop(exit_code(error) or Exit.DAMAGED, text) from error


@contextmanager
def _naming_salvage(target: Place) -> Iterator[None]:
    """Name the way out where the source is damaged, or its disk fails."""
    try:
        yield
    except (FormatError, OSError) as error:
        if isinstance(error, FormatError):
            helps = not isinstance(error, Unrecognised) and error.structure != "chain"
        else:
            target_fails = str(error.filename).startswith(target.files.describe(target.path))
            helps = error.errno == errno.EIO and not target_fails
        code = exit_code(error)
        if not helps or code is None:
            raise
        raise Stop(code, f"{reason(error)}; vhdx-img convert --salvage takes what can be read") from error


def _print_azure_notes(size: int) -> None:
    for note in azure_notes(size):
        print_line(note)


def azure_notes(size: int) -> Iterator[str]:
    """What is to be known before a disk of *size* bytes goes to Azure; nothing of one that it does not take."""
    if size > LARGEST_AZURE:
        return
    if size > LARGEST_DISK:
        yield f"the disk is larger than {LARGEST_DISK >> 30:,} GiB: Azure takes such a VHD, Hyper-V cannot open it"
    if size > _LARGEST_SYSTEM:
        yield f"the disk is larger than {_LARGEST_SYSTEM >> 30:,} GiB: Azure takes it for data, not for a system"
