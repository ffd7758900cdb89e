"""An import contract of this project's own, registered in `[tool.importlinter]`."""

import sys
from collections.abc import Iterator

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class Outside(Contract):
    """What a module imports from outside its root package, the standard library aside, is on a closed list.

    A line of *allowed* is ``importer: module, module``, and holds for all modules in the importer. Modules of the
    other root packages are named one by one, third-party packages by their first name. A line that admits more than is
    used breaks the contract, too: what is not needed is not allowed.
    """

    allowed = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        admitted = {(room.strip(), name) for room, names in map(_halves, self.allowed) for name in _names(names)}
        used: set[tuple[str, str]] = set()
        refused: list[tuple[str, str]] = []
        for importer, imported in _crossings(graph, self.session_options["root_packages"]):
            by = {(room, name) for room, name in admitted if name == imported and _in(importer, room)}
            used |= by
            if not by:
                refused.append((importer, imported))
        unused = admitted - used
        return ContractCheck(kept=not refused and not unused, metadata={"refused": refused, "unused": unused})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in sorted(check.metadata["refused"]):
            output.print_error(f"- {importer} -> {imported}: not on the list of what it may import", bold=False)
        for room, name in sorted(check.metadata["unused"]):
            output.print_error(f"- {room}: {name} is on the list, and not imported", bold=False)
        output.new_line()


def _crossings(graph: ImportGraph, roots: list[str]) -> Iterator[tuple[str, str]]:
    """Imports from outside the importer's root package, but for the standard library."""
    for root in roots:
        for importer in {root, *graph.find_descendants(root)}:
            for imported in graph.find_modules_directly_imported_by(importer):
                first = imported.partition(".")[0]
                if first != root and first not in sys.stdlib_module_names:
                    yield importer, imported


def _halves(line: str) -> tuple[str, str]:
    room, _, names = line.partition(":")
    return room, names


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",")}


def _in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")
