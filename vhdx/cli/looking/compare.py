"""``vhdx-inspect compare``: compares the content of two disks."""

import click

from vhdx.chain.chain import Chain
from vhdx.cli.content import differences, warn_of_shared
from vhdx.cli.exits import Stop, ending, reason
from vhdx.cli.kinds import FORMAT, file_names, image_format
from vhdx.cli.options import json_option, subcommand
from vhdx.cli.plain import exact_size, size_text
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.progress import Meter, progress_option, quiet_option
from vhdx.cli.reach import Reach
from vhdx.errors import Cancelled, Error
from vhdx.extents import Range

DIFFERENT, COULD_NOT = 1, 3
CODES = ending({0: "the same", DIFFERENT: "different", COULD_NOT: "not compared"})
_MOST = 100


@subcommand("compare", CODES)
@click.argument("first", shell_complete=file_names)
@click.argument("second", shell_complete=file_names)
@click.option("-f", "--format", "first_format", type=FORMAT, help="Format of FIRST (default: detected).")
@click.option("-F", "--second-format", type=FORMAT, help="Format of SECOND (default: detected).")
@click.option("--zero-tail", is_flag=True, help="Ignore zeros at the end of the longer disk.")
@json_option
@quiet_option
@progress_option
def command(
    reach: Reach,
    *,
    first: str,
    second: str,
    first_format: str | None,
    second_format: str | None,
    zero_tail: bool,
    as_json: bool,
    quiet: bool,
    progress: bool,
) -> None:
    """Compare the disks in FIRST and SECOND, including their parents' data. Formats may differ.

    Exit code 0: identical; 1: they differ, and the differences are listed; 3: the comparison failed.
    """
    try:
        with (
            reach.place(first) as one,
            reach.place(second) as other,
            reach.engine(one).open_chain(one.files, one.path, format=image_format(first_format)) as left,
            reach.engine(other).open_chain(other.files, other.path, format=image_format(second_format)) as right,
        ):
            warn_of_shared(left)
            warn_of_shared(right)
            found = _found(left, right, quiet=quiet, eager=progress)
            sizes = (left.size, right.size)
    except (Cancelled, BrokenPipeError):  # interrupted, or the pipe was closed
        raise
    except (Error, OSError) as error:
        raise Stop(COULD_NOT, reason(error)) from error
    same = not found and (zero_tail or sizes[0] == sizes[1])
    if as_json:
        shown = [{"start": wanted.offset, "length": wanted.length} for wanted in found[:_MOST]]
        print_json({"same": same, "sizes": sizes, "differences": shown, "more": len(found) > _MOST})
    else:
        _print(found, sizes, same=same)
    raise Stop(0 if same else DIFFERENT)


def _found(left: Chain, right: Chain, *, quiet: bool, eager: bool) -> list[Range]:
    found: list[Range] = []
    with Meter("compare", quiet=quiet, eager=eager) as meter:
        for done, differing in differences(left, right):
            meter.report(done, max(left.size, right.size))
            if differing is not None:
                found.append(differing)
                if len(found) > _MOST:
                    break
    return found


def _print(found: list[Range], sizes: tuple[int, int], *, same: bool) -> None:
    if same:
        print_line("the disks are identical")
        return
    if sizes[0] != sizes[1]:
        print_line(f"the sizes differ: {exact_size(sizes[0])} and {exact_size(sizes[1])}")
        if not found:
            print_line("otherwise identical: the rest of the longer disk is zeros; --zero-tail ignores that")
    for wanted in found[:_MOST]:
        print_line(f"{size_text(wanted.length)} differ at {wanted.offset} ({wanted.offset:#x})")
    if len(found) > _MOST:
        print_line(f"more than {_MOST} such ranges; the rest was not compared")
