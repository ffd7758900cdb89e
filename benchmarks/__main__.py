"""``python -m benchmarks``: see README.md in this directory."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import converting, depth, looking, many, merging, peers, reading, reflinks, shares
from benchmarks.content import MIB
from benchmarks.measuring import Case, Comparison, measure
from benchmarks.report import document, table

QUICK = 128 * MIB
UNITS = {"M": MIB, "G": MIB << 10}
Group = Callable[[Path, int], Iterator[Case]]

GROUPS: dict[str, tuple[Callable[[], str | None], Group]] = {
    "convert": (lambda: peers.missing("qemu-img"), lambda home, size: converting.cases(home, "local", size, 1.2)),
    "merge": (
        lambda: peers.missing("qemu-img", "qemu-io"),
        lambda home, size: merging.cases(home, "local", size, dense_floor=1.2, sparse_floor=1.2),
    ),
    "read": (reading.missing, lambda home, size: reading.cases(home, "local", size)),
    "look": (lambda: peers.missing("qemu-img"), lambda home, size: looking.cases(home, "local", size)),
    "reflink": (lambda: peers.missing("qemu-img", "qemu-io", "mkfs.xfs"), reflinks.cases),
    "share": (shares.missing, shares.cases),
    "depth": (depth.missing, depth.cases),
    "many": (many.missing, many.cases),
}
"""Each group of cases: what it lacks on this machine, and the cases."""


def main() -> int:
    """Run the chosen groups; 1 when a floor was missed and ``--assert`` was given."""
    arguments = _arguments()
    size = QUICK if arguments.quick else arguments.size
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory(prefix="vhdx-bench-", dir=arguments.directory) as temporary:
        for name in arguments.groups or GROUPS:
            missing, cases = GROUPS[name]
            if reason := missing():
                _say(f"{name}: left out, {reason}")
                continue
            home = Path(temporary, name)
            home.mkdir()
            for case in cases(home, size):
                _say(f"{case.name} ({case.place}) ...")
                found += measure(case, arguments.repeats)
    if arguments.json:
        print(document(found, {"size": size, "repeats": arguments.repeats}))
    else:
        print(table(found))
    return 1 if arguments.floors and any(comparison.missed for comparison in found) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Side by side with the peers.")
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], help="which groups of cases; all unless told")
    parser.add_argument("--directory", type=Path, help="where the images go (a local file system; default: TMPDIR)")
    parser.add_argument("--size", type=_size, default="1G", help="payload of the large cases, such as 512M (1G)")
    parser.add_argument("--quick", action="store_true", help=f"a size of {QUICK // MIB}M")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds (5)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--assert", action="store_true", dest="floors", help="exit with 1 when a floor is missed")
    return parser.parse_args()


def _size(text: str) -> int:
    number, unit = text[:-1], text[-1:].upper()
    if unit not in UNITS or not number.isdecimal() or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512M or 1G")
    return int(number) * UNITS[unit]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
