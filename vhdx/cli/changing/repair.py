"""``vhdx-img repair``: repairs damage that needs no guessing."""

from typing import Any

import click

from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import format_option, json_option, subcommand
from vhdx.cli.printing import print_result
from vhdx.cli.progress import Meter, silent_option
from vhdx.cli.reach import Reach
from vhdx.repair.fix import Fix
from vhdx.storage.building import suffixed


@subcommand("repair")
@click.argument("image", shell_complete=file_names)
@click.option("--dry-run", is_flag=True, help="Print what would be repaired and change nothing.")
@click.option("--reclaim", is_flag=True, help="Also free unreferenced space; this trusts the BAT.")
@click.option(
    "--undo-file", metavar="FILE", shell_complete=file_names,
    help="Where to save the previous bytes (default: IMAGE.undo).",
)
@click.option("--undo", is_flag=True, help="Undo the repair that wrote the undo file.")
@format_option
@json_option
@silent_option
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
    quiet: bool,
) -> None:
    """Repair damage to IMAGE that needs no guessing.

    This covers copies of headers, tables and footers, a lost footer, and stale parent paths. The previous bytes are
    saved in the undo file. If there is any other damage, nothing is done: vhdx-inspect check lists it.
    """
    if undo and (dry_run or reclaim):
        raise click.UsageError("--undo accepts no other option than --undo-file")
    with reach.place(image) as place, Meter("repair"):
        engine = reach.engine(place)
        format = image_format(format_name)
        name = place.files.describe(place.path)
        kept = reach.beside(place, undo_file) if undo_file else suffixed(place.path, ".undo")
        if undo:
            engine.undo_repair(place.files, place.path, kept)
            record = {"path": name, "done": True, "fixes": [], "undo": None, "restored": True}
            lines = [f"{name}: restored to its state before the repair"]
            print_result(record, lines, as_json=as_json, quiet=quiet)
            return
        if dry_run:
            fixes = engine.plan_repair(place.files, place.path, format=format, reclaim=reclaim)
        else:
            fixes = engine.repair(place.files, place.path, undo=kept, format=format, reclaim=reclaim)
        saved = None if dry_run or not fixes else place.files.describe(kept)
    record = {"path": name, "done": not dry_run, "fixes": list(map(_fix_json, fixes)), "undo": saved, "restored": False}
    lines = [f"{name}: {'would be ' if dry_run else ''}repaired: {fix}" for fix in fixes]
    if saved is not None:
        lines.append(f"{saved}: undo file; vhdx-img repair --undo restores the previous bytes")
    if not fixes:
        lines.append(f"{name}: nothing to repair")
    print_result(record, lines, as_json=as_json, quiet=quiet and not dry_run)


def _fix_json(fix: Fix) -> dict[str, Any]:
    return {"code": fix.code, "structure": fix.structure, "offset": fix.offset, "message": fix.message}
