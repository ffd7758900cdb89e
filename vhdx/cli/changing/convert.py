"""``vhdx-img convert``: copies a disk into a new image."""

import errno
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

import click

from vhdx.cli.changing.salvaged import end_salvage, salvage_json, salvage_lines
from vhdx.cli.changing.shape import block_size_option, sector_size_option, shape, type_option
from vhdx.cli.exits import MEANINGS, Exit, Stop, exit_code, reason
from vhdx.cli.kinds import FORMAT, file_names, image_format
from vhdx.cli.options import force_option, json_option, subcommand
from vhdx.cli.plain import exact_size, size_text
from vhdx.cli.printing import print_json, print_line, print_warning
from vhdx.cli.progress import Meter, progress_option, silent_option
from vhdx.cli.reach import Reach
from vhdx.errors import FormatError, ParentMismatch, ParentNotFound, Unrecognised
from vhdx.format.vhd_footer import LARGEST_AZURE, LARGEST_DISK
from vhdx.image.base import ImageFormat, ImageInfo
from vhdx.location import Place
from vhdx.salvage.report import Salvaged

AZURE_SIZES = "Azure requires a multiple of 1 MiB and at least 20 MiB"
_LARGEST_SYSTEM = 4095 << 30
_EXTENSIONS = {".vhd": "vhd", ".vhdx": "vhdx", ".raw": "raw", ".img": "raw"}


@subcommand("convert", {**MEANINGS, Exit.SALVAGED: "salvaged in part"})
@click.argument("source", shell_complete=file_names)
@click.argument("target", shell_complete=file_names)
@click.option("-f", "--format", "source_format", type=FORMAT, help="Format of SOURCE; raw must be given explicitly.")
@click.option(
    "-O",
    "--output-format",
    "target_format",
    type=FORMAT,
    help="Format of TARGET (default: from its extension .vhd, .vhdx, .raw or .img).",
)
@type_option
@block_size_option
@sector_size_option
@click.option("--azure", is_flag=True, help="Create a VHD for Azure: fixed, rounded up to whole MiB, at least 20 MiB.")
@click.option(
    "--scan-zeros",
    is_flag=True,
    help="Read all data and omit zeros that SOURCE stores. Default: omit them only where data is not copied by the "
    "kernel or server. A fixed TARGET allocates everything.",
)
@click.option(
    "--salvage", is_flag=True,
    help="Copy the readable data of a damaged SOURCE; lost ranges are listed and read as zeros in TARGET.",
)
@click.option(
    "--without-parent", is_flag=True,
    help="With --salvage: continue when a parent is missing or unusable. The parent's data is lost.",
)
@force_option
@silent_option
@progress_option
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
    progress: bool,
    as_json: bool,
) -> None:
    """Copy the disk in SOURCE, including its parents' data, into a new image TARGET.

    SOURCE is not modified. TARGET has a temporary name, NAME.xxxxxxxx.tmp, until it is complete. With --salvage, exit
    code 0 means that the whole disk was copied; 8 means that parts are lost, or that damaged structures were used.
    """
    if without_parent and not salvage:
        raise click.UsageError("--without-parent requires --salvage")
    named = target_format or _EXTENSIONS.get(posixpath.splitext(target)[1].lower()) or ("vhd" if azure else None)
    if named is None:
        raise click.UsageError(f"unknown extension of {target}: specify the format with -O raw, -O vhd or -O vhdx")
    if azure and named != "vhd":
        remedy = "name it .vhd" if target_format is None else f"omit -O {target_format}"
        raise click.UsageError(f"--azure creates a VHD, but the format of {target} is {named}: {remedy}")
    if azure and kind == "dynamic":
        raise click.UsageError("Azure requires a fixed image: omit -t dynamic")
    options = shape(ImageFormat(named), kind, block_size, sector_size, azure=azure)
    meter = Meter("convert", "the incomplete copy was removed", quiet=quiet, eager=progress)
    with reach.place(source) as one, reach.place(target) as other, meter:
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
                if azure and not as_json and not quiet:
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
    elif not quiet:
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
        print_line(f"{size_text(added)} of zeros added: {AZURE_SIZES}")
    for line in () if report is None else salvage_lines(source, report):
        print_line(line)


@contextmanager
def _naming_without_parent() -> Iterator[None]:
    """Add the remedy for a missing parent to the message."""
    try:
        yield
    except (ParentNotFound, ParentMismatch) as error:
        text = f"{reason(error)}; --without-parent copies only the image's own data"
        raise Stop(exit_code(error) or Exit.DAMAGED, text) from error


@contextmanager
def _naming_salvage(target: Place) -> Iterator[None]:
    """Add the remedy for a damaged or unreadable source to the message."""
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
        raise Stop(code, f"{reason(error)}; vhdx-img convert --salvage copies readable data") from error


def _print_azure_notes(size: int) -> None:
    for note in azure_notes(size):
        print_line(note)


def azure_notes(size: int) -> Iterator[str]:
    """Notes about a disk of *size* bytes in Azure; none if Azure does not accept it."""
    if size > LARGEST_AZURE:
        return
    if size > LARGEST_DISK:
        yield f"the disk is larger than {LARGEST_DISK >> 30:,} GiB: Azure accepts such a VHD, Hyper-V does not"
    if size > _LARGEST_SYSTEM:
        yield f"the disk is larger than {_LARGEST_SYSTEM >> 30:,} GiB: Azure accepts it as a data disk, not an OS disk"
