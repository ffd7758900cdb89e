"""The report on one image; for anything that cannot be determined it gives the reason."""

from contextlib import closing
from dataclasses import dataclass, field

from vhdx.chain.lineage import Link, LinkVerdict, Member, ancestry
from vhdx.check import check_storage
from vhdx.cli.pictures.findings import Findings
from vhdx.cli.pictures.graph import BROKEN, chain_drawing, link_text
from vhdx.cli.pictures.layout import drawing, percent
from vhdx.cli.pictures.page import Broken, Chapter, Figure, Page, PageTable, Row
from vhdx.cli.pictures.shapes import base_name
from vhdx.cli.pictures.structures import chapter
from vhdx.cli.pictures.survey import COLUMNS, Survey, survey
from vhdx.cli.pictures.vector import document
from vhdx.cli.plain import exact_size, size_text
from vhdx.dump import DumpPart, dump_storage
from vhdx.errors import Error
from vhdx.image.base import ImageFormat, ImageInfo, LogState
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.contract import Engine

_MOST_CELLS = 16384
"""Columns of a map times its layers; bounds the size of its drawing."""
_FEWEST_COLUMNS = 64
_MOST_NAMES = 20
_TRIED = (Error, PermissionError)
"""Errors that omit a chapter; when the transport fails there is no report."""


@dataclass(slots=True)
class Subject:
    """One image; the layers that can be reached are looked up once."""

    files: FileSystem
    path: str
    engine: Engine
    format: ImageFormat | None = None
    members: list[Member] = field(default_factory=list)
    unreadable: str = ""

    def explore(self) -> None:
        """Find the layers. Raises FileNotFoundError, OSError."""
        self.files.stat(self.path)
        found = ancestry(
            self.files, self.path, policy=self.engine.policy, new_id=self.engine.new_id, format=self.format
        )
        try:
            for member in found:
                self.members.append(member)
        except _TRIED as error:
            self.unreadable = str(error)

    @property
    def name(self) -> str:
        return self.files.describe(self.path)


def page(subject: Subject, *, made: str, version: str) -> Page:
    """The page about *subject*, after `explore`; *made* is its creation time."""
    findings = Findings(subject.name)
    findings.collect(
        subject.engine.check(subject.files, subject.path, chain=True, format=subject.format)
    )
    parts, reason = _structures(subject)
    note = "Structures of this file only, without a replay of its log."
    return Page(
        name=base_name(subject.name),
        path=subject.name,
        verdict=findings.verdict,
        made=made,
        version=version,
        summary=_summary(subject),
        chain=_chain(subject),
        broken=_broken(subject),
        map=_map(subject),
        findings=findings.tables(),
        findings_note=findings.note,
        parts=parts,
        parts_note=f"Some structures cannot be shown: {reason}" if reason else note,
    )


def _summary(subject: Subject) -> list[tuple[str, str]]:
    rows = [("Image", subject.name)]
    if not subject.members:
        status = subject.files.stat(subject.path)
        rows.append(("File size", _file_size(status.size, status.allocated)))
        return [*rows, ("Not readable", subject.unreadable)]
    leaf = subject.members[0]
    info = leaf.info
    rows += [
        ("Format", f"{info.format.value}, {info.type.value}"),
        ("Virtual size", exact_size(info.virtual_size)),
        ("File size", _file_size(leaf.status.size, leaf.status.allocated)),
        ("Block size", "none" if info.block_size is None else size_text(info.block_size)),
        ("Sector sizes", f"{info.logical_sector_size} bytes logical, {info.physical_sector_size} physical"),
        ("Disk id", str(info.disk_id or "none")),
        ("Creator", info.creator or "not recorded"),
    ]
    if info.format is ImageFormat.VHDX:
        rows.append(("Log", _log(info)))
    if leaf.link is not None:
        rows += _parent(subject.files, leaf.link)
    if leaf.siblings:
        rows.append(("Siblings", _listed([subject.files.describe(path) for path in leaf.siblings])))
    return rows + [("Warning", warning) for warning in info.warnings]


def _file_size(size: int, allocated: int) -> str:
    return f"{exact_size(size)}, {size_text(allocated)} on disk"


def _log(info: ImageInfo) -> str:
    if info.log is LogState.CLEAN:
        return "clean"
    entries = f"{info.log_entries} entr{'y' if info.log_entries == 1 else 'ies'}"
    return f"dirty: {entries} to replay; summary, chain and map show the image as after the replay"


def _parent(files: FileSystem, link: Link) -> list[tuple[str, str]]:
    recorded = link.recorded
    ids = [str(one) for one in (recorded.linkage, recorded.linkage2) if one is not None]
    found = BROKEN.get(link.verdict) or files.describe(link.path or "")
    return [
        ("Parent", found),
        ("Parent id", " or ".join(ids)),
        *((f"Parent as {key}", path) for key, path in recorded.paths.items()),
    ]


def _listed(names: list[str]) -> str:
    left = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {left} more" if left > 0 else "")


def _chain(subject: Subject) -> Figure:
    if not subject.members:
        return Figure(None, f"The image cannot be opened: {subject.unreadable}")
    return Figure(document(chain_drawing(subject.members, subject.files.describe)))


def _broken(subject: Subject) -> list[Broken]:
    if not subject.members:
        return []
    last = subject.members[-1]
    name = base_name(subject.files.describe(last.path))
    if last.link is None:
        return []
    if last.link.verdict is LinkVerdict.FOUND:
        return [Broken(name, "the chain could not be followed further", (subject.unreadable,))]
    problems = last.link.problems
    left = len(problems) - _MOST_NAMES
    shown = (*problems[:_MOST_NAMES], f"and {left} more") if left > 0 else problems
    return [Broken(name, link_text(last.link), shown)]


def _map(subject: Subject) -> Figure:
    try:
        with subject.engine.open_chain(subject.files, subject.path, format=subject.format) as chain:
            chain.shared()
            count = len(chain.layers)
            columns = min(max(_MOST_CELLS // count, _FEWEST_COLUMNS), COLUMNS)
            names = [subject.files.describe(layer.path) for layer in chain.layers]
            found = survey(chain, names, columns)
    except _TRIED as error:
        return Figure(None, str(error))
    return Figure(document(drawing(found)), table=_shares(found))


def _shares(found: Survey) -> PageTable:
    """The map in numbers."""

    def cell(part: int) -> str:
        return f"{size_text(part)} ({percent(part, found.size)})" if part else "none"

    rows = tuple(
        Row(
            (
                f"{number}  {base_name(layer.name)}",
                f"{layer.info.format.value} {layer.info.type.value}",
                size_text(layer.info.virtual_size),
                cell(layer.held.total),
                cell(layer.visible.total),
                cell(layer.held.total - layer.visible.total),
                cell(layer.zero.total),
            )
        )
        for number, layer in enumerate(found.layers)
    )
    columns = ("Layer", "Type", "Disk size", "Data", "Visible to the guest", "Hidden by children", "Zeros")
    return PageTable("Allocation by layer", columns, rows)


def _structures(subject: Subject) -> tuple[list[Chapter], str]:
    """The chapters, and the reason if some are missing."""
    chapters: list[Chapter] = []
    try:
        with closing(subject.files.open(subject.path, Access.INSPECT)) as storage:
            findings = list(check_storage(storage, format=subject.format))
            for part in DumpPart:
                structures = dump_storage(storage, [part], format=subject.format, findings=findings)
                found = chapter(part, structures, subject.name)
                if found is not None:
                    chapters.append(found)
    except _TRIED as error:
        return chapters, str(error)
    return chapters, ""
