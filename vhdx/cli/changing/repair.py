"""``vhdx-img repair``: damage put right where nothing has to be guessed."""

from typing import Any

import click

from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import format_option, json_option, subcommand
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.progress import Meter
from vhdx.cli.reach import Reach
from vhdx.repair.fix import Fix
from vhdx.storage.building import suffixed


@subcommand("repair")
@click.argument("image", shell_complete=file_names)
@click.option("--dry-run", is_flag=True, help="Say what would be put right, and do nothing.")
@click.option("--reclaim", is_flag=True, help="Also give back space that nothing refers to; this trusts the table.")
@click.option(
    "--undo-file", metavar="FILE", shell_complete=file_names,
    help="Where to keep what is changed, IMAGE.undo unless said.",
)
@click.option("--undo", is_flag=True, help="Take the repair back that wrote the undo file.")
@format_option
@json_option
def command(
    reach: Reach,
    *,
    image: str,
    dry_run: bool,
    reclaim: bool,
    undo_file: str | None,
    undo: bool,
    format_name: str | None,
    as_json: bool,
) -> None:
    """Put right what is wrong with IMAGE and can be put right without guessing.

    That is the copies of headers, tables and footers, a lost footer, stale paths of a parent. What was there before is
    kept in the undo file. When anything else is wrong nothing is done: vhdx-inspect check says what it is.
    """
    if undo and (dry_run or reclaim):
        raise click.UsageError("--undo stands alone, with --undo-file at most")
    with reach.place(image) as place, Meter("repair"):
        engine = reach.engine(place)
        format = image_format(format_name)
        name = place.files.describe(place.path)
        kept = reach.beside(place, undo_file) if undo_file else suffixed(place.path, ".undo")
        if undo:
            engine.undo_repair(place.files, place.path, kept)
            print_line(f"{name}: is again what it was before the repair")
            return
        if dry_run:
            fixes = engine.plan_repair(place.files, place.path, format=format, reclaim=reclaim)
        else:
            fixes = engine.repair(place.files, place.path, undo=kept, format=format, reclaim=reclaim)
        saved = None if dry_run or not fixes else place.files.describe(kept)
    if as_json:
        print_json({"path": name, "done": not dry_run, "fixes": list(map(_fix_json, fixes)), "undo": saved})
        return
    for fix in fixes:
        print_line(f"{name}: {'would be ' if dry_run else ''}put right: {fix}")
    if saved is not None:
        print_line(f"{saved}: what was there before; vhdx-img repair --undo takes it back")
    if not fixes:
        print_line(f"{name}: there is nothing to put right")


def _fix_json(fix: Fix) -> dict[str, Any]:
    return {"code": fix.code, "structure": fix.structure, "offset": fix.offset, "message": fix.message}
