"""``vhdx-img merge``: merges layers of a chain."""

from typing import Any

import click

from vhdx.cli.changing.shrinking import shrinking
from vhdx.cli.exits import Exit, Stop
from vhdx.cli.kinds import file_names, image_format
from vhdx.cli.options import json_option, layers_format_option, orphan_option, subcommand
from vhdx.cli.plain import size_text
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.progress import Meter, progress_option, silent_option
from vhdx.cli.reach import Reach
from vhdx.errors import Error
from vhdx.image.base import ImageFormat
from vhdx.location import Place
from vhdx.storage.base import FileSystem
from vhdx.verbs.contract import Engine
from vhdx.verbs.merge_plan import MergePlan
from vhdx.verbs.shrink import refuse_cut

_ADVICE = "the content of all disks is unchanged; run the same command again to finish"


@subcommand("merge")
@click.argument("child", shell_complete=file_names)
@click.option(
    "--into", "ancestor", metavar="ANCESTOR", shell_complete=file_names,
    help="Merge into this layer instead of the parent.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done and change nothing.")
@click.option("--shrink", is_flag=True, help="Allow removing zeros at the end of parents that are larger than CHILD.")
@click.option("--force", is_flag=True, help="With --shrink: also remove data, which is lost.")
@click.option("--keep", is_flag=True, help="Keep the merged files.")
@orphan_option
@layers_format_option
@json_option
@silent_option
@progress_option
def command(
    reach: Reach,
    *,
    child: str,
    ancestor: str | None,
    dry_run: bool,
    shrink: bool,
    force: bool,
    keep: bool,
    orphan: bool,
    format_name: str | None,
    as_json: bool,
    quiet: bool,
    progress: bool,
) -> None:
    """Merge CHILD into its parent, which then has the content of CHILD.

    With --into, the layers in between are merged too. Children of CHILD are first relinked to the result; then merged
    files without remaining children are removed. If the result has other children, they are listed and nothing is done,
    because they would become unreadable.
    """
    way = shrinking(shrink=shrink, force=force)
    with reach.place(child) as place, Meter("merge", _ADVICE, quiet=quiet, eager=progress) as meter:
        engine = reach.engine(place)
        format = image_format(format_name)
        target = reach.beside(place, ancestor) if ancestor else _parent(engine, place, format)
        plan = engine.plan_merge(place.files, place.path, target, format=format)
        if not dry_run:
            engine.merge(
                place.files,
                place.path,
                target,
                shrink=way,
                orphan=orphan,
                remove=not keep,
                format=format,
                on_progress=meter.report,
            )
            for other in plan.relinked if keep else ():
                engine.relink(place.files, other, plan.result, merged=True, format=format)
    removed = _gone(place.files, plan.merged)
    if as_json:
        print_json(plan_json(place.files, plan, [] if dry_run else removed, done=not dry_run))
    elif dry_run or not quiet:
        _print(place.files, plan, removed, dry_run=dry_run, keep=keep)
    if dry_run and plan.orphaned and not orphan:
        message = "the merge would be refused: other images would lose their parent (pass --orphan to proceed)"
        raise Stop(Exit.REFUSED, message)
    if dry_run and plan.links > 1 and not orphan:
        message = f"the merge would be refused: the result has {plan.links} hard links (pass --orphan to proceed)"
        raise Stop(Exit.REFUSED, message)
    if dry_run:
        refuse_cut(place.files.describe(target), plan, way)


def _parent(engine: Engine, place: Place, format: ImageFormat | None) -> str:
    layers = engine.layers(place.files, place.path, format=format)
    if len(layers) < 2:
        raise Error(f"{place.files.describe(place.path)}: has no parent to merge into")
    return layers[1]


def _gone(files: FileSystem, paths: tuple[str, ...]) -> list[str]:
    gone = []
    for path in paths:
        try:
            files.stat(path)
        except FileNotFoundError:
            gone.append(path)
    return gone


def plan_json(files: FileSystem, plan: MergePlan, removed: list[str], *, done: bool) -> dict[str, Any]:
    """The merge that was, or would be, done; sizes in bytes."""

    def names(paths: "list[str] | tuple[str, ...]") -> list[str]:
        return [files.describe(path) for path in paths]

    return {
        "done": done,
        "result": files.describe(plan.result),
        "merged": names(plan.merged),
        "moved": plan.moved,
        "needed": plan.needed,
        "free": plan.free,
        "relinked": names(plan.relinked),
        "orphaned": names(plan.orphaned),
        "cut": plan.cut,
        "lost": plan.lost,
        "removed": names(removed),
    }


def _print(files: FileSystem, plan: MergePlan, removed: list[str], *, dry_run: bool, keep: bool) -> None:
    would = "would be " if dry_run else ""
    result = files.describe(plan.result)
    for path in plan.merged:
        print_line(f"{files.describe(path)}: {would}merged into {result}")
    print_line(
        f"{result}: {size_text(plan.moved)} {would}moved; at most {size_text(plan.needed)} more space needed, "
        f"{size_text(plan.free)} free"
    )
    for path in plan.relinked:
        print_line(f"{files.describe(path)}: {would}linked to {result}")
    for path in plan.orphaned:
        print_line(f"{files.describe(path)}: {'would lose' if dry_run else 'lost'} its parent")
    if plan.cut:
        print_line(
            f"{result}: {size_text(plan.cut)} beyond the end of the merged disk {would}removed, "
            f"including {size_text(plan.lost)} of data"
        )
    if dry_run or keep:
        return
    for path in plan.merged:
        fate = "removed" if path in removed else "kept: it may still be referenced"
        print_line(f"{files.describe(path)}: {fate}")
