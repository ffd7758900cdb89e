"""``vhdx-img relink``: records the parent of an image."""

import posixpath

import click

from vhdx.chain.forced import note_of, standing
from vhdx.cli.changing.elsewhere import notes_of_elsewhere
from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import json_option, layers_format_option, subcommand
from vhdx.cli.printing import print_result
from vhdx.cli.progress import Meter, silent_option
from vhdx.cli.reach import Reach


@subcommand("relink")
@click.argument("child", shell_complete=file_names)
@click.argument("parent", shell_complete=file_names, required=False)
@click.option("--force", is_flag=True, help="Record PARENT even if it is not, or no longer, the parent of CHILD.")
@click.option("--undo", is_flag=True, help="Restore the record from before --force.")
@layers_format_option
@json_option
@silent_option
def command(
    reach: Reach,
    *,
    child: str,
    parent: str | None,
    force: bool,
    undo: bool,
    format_name: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Record the current path of PARENT, the parent of CHILD.

    PARENT must have the id that CHILD records, the same disk id and, for a VHD, the same size. --force records any
    image of the same format: if its content differs from that of the original parent, the disk is corrupt. The
    previous record is saved in CHILD.forced, chain and check report it, and --undo restores it. The content of both
    files does not change.
    """
    if undo == (parent is not None) or (undo and force):
        raise click.UsageError("specify either PARENT or --undo")
    with reach.place(child) as place, Meter("relink"):
        name = place.files.describe(place.path)
        format = image_format(format_name)
        if parent is None:
            reach.engine(place).undo_relink(place.files, place.path, format=format)
            record = {"path": name, "restored": True, "parent": None, "forced": [], "record": None, "notes": []}
            lines = [f"{name}: parent record from before --force restored"]
            print_result(record, lines, as_json=as_json, quiet=quiet)
            return
        below = place.files.resolve(reach.beside(place, parent))
        elsewhere = posixpath.dirname(below)
        engine = reach.engine(place, also=elsewhere)
        engine.relink(place.files, place.path, below, force=force, format=format)
        path = place.files.resolve(place.path)
        forced = standing(place.files, path, engine.info(place.files, path, format=format).parent)
        differs = [] if forced is None else list(forced.differs)
        kept = None if forced is None else place.files.describe(note_of(path))
        notes = notes_of_elsewhere(reach, place, below, format)
        found = place.files.describe(below)
    record = {"path": name, "restored": False, "parent": found, "forced": differs, "record": kept, "notes": notes}
    lines = [f"{name}: its parent is {found}", *(f"FORCED although {difference}" for difference in differs)]
    if kept is not None:
        lines.append(f"{kept}: previous record; --undo restores it")
    print_result(record, lines + notes, as_json=as_json, quiet=quiet)
