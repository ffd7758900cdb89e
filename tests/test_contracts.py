"""Import rules: whatever the tables of docs/architecture.md do not allow is planted, and has to be refused."""

import ast
import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grimp
import pytest
from importlinter import Contract
from importlinter.api import read_configuration
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

from tests.support.contracts import Outside

PROJECT = Path(__file__).parent.parent
ROOTS = ("vhdx", "smbfs_driver")
TYPES = {
    "layers": LayersContract,
    "protected": ProtectedContract,
    "acyclic_siblings": AcyclicSiblingsContract,
    "outside": Outside,
}
UNKNOWN = "requests"
"""A package that nothing here uses."""

UNNAMED = "rumour"
"""A module that is on no floor."""

BY_NAME = {
    "vhdx/__init__.py": "loads a name when it is first used",
    "vhdx/cli/start.py": "loads a command under a guard",
    "vhdx/cli/program.py": "loads a subcommand when it is called",
    "vhdx/storage/smb/handshake.py": "asks for Kerberos libraries that may be missing",
}
"""Who imports by a string, which no contract sees."""


@dataclass(frozen=True)
class Rules:
    """What the tables say. Names are those of modules."""

    floors: dict[str, list[list[str]]]
    outside: list[tuple[str, set[str]]]
    protected: list[tuple[list[str], list[str]]]

    def allow(self, importer: str, imported: str) -> bool:
        """Whether one module may import the other."""
        if importer in ROOTS and within(imported, importer):
            return True
        if imported.partition(".")[0] != importer.partition(".")[0]:
            listed = any(within(importer, room) and imported in names for room, names in self.outside)
        else:
            listed = all(self._below(importer, imported, package) for package in self.floors)
        return listed and all(self._admits(importer, imported, *row) for row in self.protected)

    def _below(self, importer: str, imported: str, package: str) -> bool:
        first, second = self.floor(importer, package), self.floor(imported, package)
        same = tail(importer, package) == tail(imported, package)
        return same or first is None or second is None or first < second

    def floor(self, module: str, package: str) -> int | None:
        """How far below the highest floor of *package* a module of it is; None for what the table leaves out."""
        name = tail(module, package)
        return next((number for number, names in enumerate(self.floors[package]) if name in names), None)

    def _admits(self, importer: str, imported: str, modules: list[str], importers: list[str]) -> bool:
        if imported in ROOTS or set(modules) <= set(ROOTS):
            return imported not in modules
        kept = [module for module in modules if within(imported, module)]
        return not kept or any(within(importer, one) for one in (*kept, *importers))


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def tail(module: str, package: str) -> str:
    """The name in *package* of a module below it; "" for any other."""
    return module.removeprefix(f"{package}.").partition(".")[0] if module.startswith(f"{package}.") else ""


def table(heading: str) -> Iterator[list[str]]:
    """The cells of each row below *heading*."""
    lines = iter((PROJECT / "docs/architecture.md").read_text().splitlines())
    assert any(line.startswith(f"| {heading} |") for line in lines), f"no table {heading!r}"
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            return
        yield line.strip("|").split("|")


def names(cell: str, prefix: str = "") -> list[str]:
    """The modules whose paths stand in a cell."""
    paths = re.findall(r"`([^`]+)`", cell)
    return [prefix + path.removesuffix(".py").removesuffix("/__init__").strip("/").replace("/", ".") for path in paths]


@cache
def rules() -> Rules:
    return Rules(
        floors={names(one)[0]: [names(floor) for floor in floors.split(">")] for one, floors in table("package")},
        outside=[(names(one)[0], {*names(third), *names(engine, "vhdx.")}) for one, third, engine in table("importer")],
        protected=[(names(modules), names(importers)) for modules, importers, _ in table("module")],
    )


class Linter:
    """The contracts over the imports that there are, and one more."""

    def __init__(self) -> None:
        configuration = read_configuration(str(PROJECT / "pyproject.toml"))
        session = configuration["session_options"]
        self.contracts: list[Contract] = [
            TYPES[options["type"]](options["name"], session, options) for options in configuration["contracts_options"]
        ]
        self.graph = grimp.build_graph(*ROOTS, include_external_packages=True, cache_dir=None)

    def refusing(self, importer: str, imported: str) -> str | None:
        """The name of a contract that this import would break."""
        assert importer in self.graph.modules
        if imported not in self.graph.modules:
            self.graph.add_module(imported, is_squashed=True)
        self.graph.add_import(importer=importer, imported=imported)
        try:
            broken = (contract.name for contract in self._likely_first(importer) if not self.keeps(contract))
            return next(broken, None)
        finally:
            self.graph.remove_import(importer=importer, imported=imported)

    def keeps(self, contract: Contract) -> bool:
        """Whether the imports that there are keep a contract, which takes those it ignores out of what it is given."""
        options = contract.contract_options
        changes = "ignore_imports" in options or options["type"] == "acyclic_siblings"
        return contract.check(copy.deepcopy(self.graph) if changes else self.graph, verbose=False).kept

    def _likely_first(self, importer: str) -> list[Contract]:
        floors = [importer.rpartition(".")[0]]

        def rank(contract: Contract) -> int:
            options = contract.contract_options
            return 0 if options.get("containers") == floors else 1 if options["type"] in ("protected", "outside") else 2

        return sorted(self.contracts, key=rank)

    def one_of(self, room: str) -> str:
        """A module of a room: the room itself where it is a module."""
        return min(self.graph.find_descendants(room), default=room)

    def imports(self) -> Iterator[tuple[str, str]]:
        """All there are, but those of the standard library."""
        for importer in sorted(self.graph.modules):
            if importer.partition(".")[0] in ROOTS:
                for imported in sorted(self.graph.find_modules_directly_imported_by(importer)):
                    if imported.partition(".")[0] not in sys.stdlib_module_names:
                        yield importer, imported


@pytest.fixture(scope="module")
def linter() -> Linter:
    return Linter()


def refused(linter: Linter, plants: Iterator[tuple[str, str]]) -> int:
    """How many imports the tables do not allow; each of them is refused."""
    wrong = [plant for plant in plants if not rules().allow(*plant)]
    assert not [f"{importer} -> {imported}" for importer, imported in wrong if not linter.refusing(importer, imported)]
    return len(wrong)


def test_what_is_imported_is_allowed(linter: Linter) -> None:
    for contract in linter.contracts:
        assert linter.keeps(contract), contract.name
    assert not [pair for pair in linter.imports() if not rules().allow(*pair)]


def test_the_tables_name_what_is_there(linter: Linter) -> None:
    for package, floors in rules().floors.items():
        listed = {f"{package}.{name}" for floor in floors for name in floor}
        assert listed <= linter.graph.modules
        assert listed == linter.graph.find_children(package)
    used = set(linter.imports())
    for room, modules in rules().outside:
        for module in modules:
            assert any(within(importer, room) and imported == module for importer, imported in used), (room, module)
    for modules, importers in rules().protected:
        for importer in importers:
            assert any(within(one, importer) and within(two, kept) for one, two in used for kept in modules), importer


@pytest.mark.parametrize("package", rules().floors)
def test_no_module_imports_from_its_own_floor_or_above(linter: Linter, package: str) -> None:
    rooms = sorted(f"{package}.{name}" for floor in rules().floors[package] for name in floor)
    pairs = [(one, two) for one in rooms for two in rooms if one != two]
    plants = {(importer, linter.one_of(two)) for one, two in pairs for importer in (one, linter.one_of(one))}
    assert refused(linter, iter(sorted(plants))) >= len(pairs) // 2


def rooms() -> set[str]:
    """Those of both packages, and who may import more than its room."""
    inner = {f"{root}.{name}" for root in ROOTS for floor in rules().floors[root] for name in floor}
    return inner | {room for room, _ in rules().outside}


def test_no_other_package_is_imported(linter: Linter) -> None:
    third = {name for _, listed in rules().outside for name in listed if not within(name, "vhdx")}
    pairs = ((linter.one_of(room), package) for room in rooms() for package in (*third, UNKNOWN))
    assert refused(linter, pairs) > len(rooms()) * len(third) // 2


def test_the_driver_imports_what_is_listed_and_the_engine_no_driver(linter: Linter) -> None:
    engine = [room for room in rooms() if within(room, "vhdx")]
    driver = [room for room in rooms() if within(room, "smbfs_driver")]
    listed = {name for _, listed in rules().outside for name in listed if within(name, "vhdx")}
    pairs = [(one, two) for one in driver for two in {*engine, *listed}]
    pairs += [(two, one) for one, two in pairs if two in engine]
    assert refused(linter, ((linter.one_of(one), linter.one_of(two)) for one, two in pairs)) > len(pairs) // 2


def test_protected_modules_are_imported_by_few(linter: Linter) -> None:
    kept = [module for modules, _ in rules().protected for module in modules]
    inner = {f"{package}.{name}" for package, floors in rules().floors.items() for floor in floors for name in floor}
    importers = {linter.one_of(room) for room in inner}
    pairs = ((importer, module) for importer in importers for module in kept if not within(importer, module))
    assert refused(linter, pairs) > len(importers) * len(kept) // 2


PLANTED = [
    ("vhdx/storage/smb/wire.py", "from vhdx.chain.chain import Chain", "vhdx.chain.chain"),
    ("vhdx/dump/words.py", "from vhdx.storage.local import LocalFileSystem", "vhdx.storage.local"),
    ("smbfs_driver/volumes/plans.py", "from oslo_log import log", "oslo_log"),
    ("vhdx/image/vhdx/space.py", "import vhdx.storage.smb", "vhdx.storage.smb"),
    ("vhdx/format/bat.py", "from vhdx.storage.base import Storage", "vhdx.storage.base"),
    ("vhdx/format/header.py", "def late():\n    from vhdx.storage import transfer", "vhdx.storage.transfer"),
    ("vhdx/check/rule.py", "if TYPE_CHECKING:\n    from vhdx.verbs.merge import merge", "vhdx.verbs.merge"),
    ("vhdx/storage/stored.py", "from vhdx import Chain", "vhdx"),
    ("vhdx/salvage/medium.py", "import requests", "requests"),
    ("vhdx/cli/looking/read.py", "from ..changing import write", "vhdx.cli.changing.write"),
    ("vhdx/extents.py", "import smbfs_driver.volumes.names", "smbfs_driver.volumes.names"),
]
"""A file, what is added to it, and the module that is imported so."""


def test_the_command_sees_what_is_written_into_files(tmp_path: Path) -> None:
    """Whatever import-linter takes for an import, and new files that no contract names."""
    for package in ROOTS:
        shutil.copytree(PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ("pyproject.toml", "tests/__init__.py", "tests/support/__init__.py", "tests/support/contracts.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / path, tmp_path / path)
    assert "0 broken" in lint(tmp_path, 0)
    for path, text, _ in PLANTED:
        with (tmp_path / path).open("a") as file:
            file.write(f"\n{text}\n")
    unnamed = [f"{package}.{UNNAMED}" for package in rules().floors]
    for module in unnamed:
        (tmp_path / f"{module.replace('.', '/')}.py").write_text("")
    said = lint(tmp_path, 1)
    for path, _, imported in PLANTED:
        assert f"- {names(f'`{path}`')[0]} -> {imported}" in said
    for module in unnamed:
        assert f"- {module}\n" in said


def lint(directory: Path, code: int) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=directory, env={**os.environ, "COLUMNS": "400"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def sources() -> Iterator[tuple[str, ast.Module]]:
    for root in ROOTS:
        for path in sorted((PROJECT / root).rglob("*.py")):
            yield path.relative_to(PROJECT).as_posix(), ast.parse(path.read_text())


def spoken(tree: ast.Module) -> set[str]:
    """The identifiers of a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found.update(name.split("."))
            case ast.ImportFrom(module=str(name)):
                found.update(name.split("."))
    return found


def test_imports_by_a_string_are_few() -> None:
    """They are not in what contracts look at."""
    ways = {"import_module", "__import__", "importlib"}
    assert {path for path, tree in sources() if spoken(tree) & ways and path not in BY_NAME} <= {
        "vhdx/cli/pictures/page.py",  # importlib.resources
        "vhdx/cli/looking/report.py",  # importlib.metadata
    }


def test_the_native_engine_is_named_where_programs_are_composed() -> None:
    naming = {names(f"`{path}`")[0] for path, tree in sources() if "NativeEngine" in spoken(tree)}
    [importers] = [importers for modules, importers in rules().protected if modules == ["vhdx.verbs.engine"]]
    assert naming <= {"vhdx", "vhdx.verbs.engine", *importers}
