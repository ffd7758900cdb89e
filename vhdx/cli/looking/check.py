"""``vhdx-inspect check``: checks an image and suggests remedies."""

from collections.abc import Iterable

import click

from vhdx.check import Finding, Severity
from vhdx.check.remedies import REMEDIES
from vhdx.cli.exits import Stop, ending, reason
from vhdx.cli.kinds import image_format
from vhdx.cli.looking.finding_json import finding_json
from vhdx.cli.options import format_option, image_argument, json_option, subcommand
from vhdx.cli.printing import print_json, print_line
from vhdx.cli.reach import Reach
from vhdx.errors import Cancelled, Error

COULD_NOT_FINISH, DAMAGED, MINOR = 1, 2, 3
CODES = ending(
    {0: "clean, or nothing but infos", COULD_NOT_FINISH: "not finished", DAMAGED: "damaged", MINOR: "warnings only"}
)


@subcommand("check", CODES)
@image_argument
@click.option("--chain", is_flag=True, help="Also check the parents and the links to them.")
@click.option("--deep", is_flag=True, help="Read every allocated block.")
@format_option
@json_option
def command(
    reach: Reach,
    *,
    image: str,
    chain: bool,
    deep: bool,
    format_name: str | None,
    as_json: bool,
) -> None:
    """Check IMAGE against the rules of its format.

    Exit code 0: clean, or only infos; 1: the check could not be completed; 2: damaged; 3: warnings, no errors.
    """
    try:
        with reach.place(image) as place:
            engine = reach.engine(place)
            format = image_format(format_name)
            name = place.files.describe(place.path)
            found = engine.check(place.files, place.path, chain=chain, deep=deep, format=format)
            code = _print_json(name, list(found)) if as_json else _print(name, found)
    except (Cancelled, BrokenPipeError):  # interrupted, or the pipe was closed
        raise
    except (Error, OSError) as error:
        raise Stop(COULD_NOT_FINISH, reason(error)) from error
    raise Stop(code)


def _code(severities: Iterable[Severity]) -> int:
    worst = set(severities)
    if Severity.ERROR in worst:
        return DAMAGED
    return MINOR if Severity.WARNING in worst else 0


def _print_json(name: str, findings: list[Finding]) -> int:
    code = _code(finding.severity for finding in findings)
    print_json({"path": name, "result": _RESULTS[code], "findings": [finding_json(one) for one in findings]})
    return code


_RESULTS = {0: "clean", DAMAGED: "damaged", MINOR: "minor"}


def _print(name: str, found: Iterable[Finding]) -> int:
    severities: dict[Severity, int] = {}
    for finding in found:
        severities[finding.severity] = severities.get(finding.severity, 0) + 1
        print_line(str(finding))
        print_line(f"    {REMEDIES[finding.code]}")
    code = _code(severities)
    print_line(f"{name}: {_summary(severities, code)}")
    return code


def _summary(severities: dict[Severity, int], code: int) -> str:
    counts = [f"{count} {severity.value}{'s' * (count != 1)}" for severity, count in severities.items()]
    heading = {0: "clean", DAMAGED: "damaged", MINOR: "readable, with warnings"}[code]
    return f"{heading} ({', '.join(counts)})" if counts else heading
