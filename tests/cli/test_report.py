"""The report: one well-formed page for every image, sound or not, in which nothing of the image is more than text."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli import sample
from tests.image.test_replay import dirty
from tests.support.disks import MIB, counting_ids
from tests.support.kinds import KINDS, random_disk
from tests.support.memory import MemoryFileSystem
from vhdx.check import Finding, Severity
from vhdx.check.rules import CODES
from vhdx.cli.inspect import program
from vhdx.cli.pictures.findings import Findings
from vhdx.cli.pictures.structures import chapter
from vhdx.cli.program import run
from vhdx.dump import DumpPart, Field, Structure
from vhdx.image.base import CreateOptions
from vhdx.storage.base import Access
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

X = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
ELSEWHERE = {"script", "link", "img", "image", "use", "iframe", "object", "embed", "base", "form", "foreignObject"}
CHAPTERS = ["Summary", "Chain", "Allocation", "Findings"]


def report(image: Path, output: Path, *options: str) -> int:
    """Run the command; its exit code."""
    with pytest.raises(SystemExit) as end:
        run(program, ["report", str(image), "-o", str(output), *options])
    assert isinstance(end.value.code, int)
    return end.value.code


def checked(output: Path) -> ElementTree.Element:
    """The page, which is well-formed and refers to nothing outside of itself."""
    text = output.read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert not {one.tag.rpartition("}")[2] for one in root.iter()} & ELSEWHERE
    names = {name for one in root.iter() for name in one.attrib}
    assert not [name for name in names if name.startswith("on") or name in ("src", "srcset", "data", "action")]
    assert not re.search(r"url\(|@import", "".join(one.text or "" for one in root.iter(f"{X}style")))
    assert all("#" in value[:1] for one in root.iter() for name, value in one.items() if name.endswith("href"))
    assert set(re.findall(r'"(https?://[^"]*)"', text)) <= {X[1:-1], SVG[1:-1]}
    assert [one.text for one in root.iter(f"{X}h2")][:4] == CHAPTERS
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    assert all(one.get("scope") in ("col", "row") for one in root.iter(f"{X}th"))
    assert all(one.get("aria-label") for one in root.iter(f"{SVG}svg"))
    assert re.sub(r"[^\x00-\x1f\x7f]|\n", "", text) == ""
    return root


def words(root: ElementTree.Element) -> str:
    """All text of the page, spaces joined."""
    return " ".join(" ".join(root.itertext()).split())


def verdict(root: ElementTree.Element) -> str:
    return next(one.text or "" for one in root.iter(f"{X}strong") if one.get("class") == "badge")


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """The leaf of the sample chain, in files."""
    sample.three_layers(LocalFileSystem(tmp_path))
    return tmp_path / sample.LEAF


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_has_a_report(tmp_path: Path, kind: str) -> None:
    disk = random_disk(LocalFileSystem(tmp_path), KINDS[kind], 7)
    output = tmp_path / "report.html"
    assert report(tmp_path / disk.paths[0], output) == 0
    root = checked(output)
    assert verdict(root) in ("clean", "readable, with warnings")
    assert len(list(root.iter(f"{SVG}svg"))) == 2
    assert all(path in words(root) for path in disk.paths)
    assert len(list(root.iter(f"{X}h3"))) >= 1


def hashes(directory: Path) -> dict[str, str]:
    """What is in every file, in little memory."""
    found = {}
    for path in directory.iterdir():
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def test_a_chain_is_shown_with_siblings_and_shares(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = layers.parent / "report.html"
    before = hashes(layers.parent)
    assert report(layers, output) == 0
    assert str(output) in capsys.readouterr().out
    text = words(checked(output))
    for expected in (sample.CLONE, "parent found by relative_path", "Hidden by children", "256 MiB disk in 3"):
        assert expected in text
    output.unlink()
    assert hashes(layers.parent) == before


def test_a_dirty_log_is_told(tmp_path: Path) -> None:
    made, _ = dirty(MemoryFileSystem())
    image = tmp_path / "crashed.vhdx"
    image.write_bytes(made.everything)
    assert report(image, tmp_path / "report.html") == 0
    root = checked(tmp_path / "report.html")
    assert "to replay" in words(root)
    assert len(list(root.iter(f"{SVG}svg"))) == 2


def test_a_missing_parent_is_a_broken_link(layers: Path) -> None:
    (layers.parent / sample.BASE).unlink()
    assert report(layers, layers.parent / "report.html") == 0
    root = checked(layers.parent / "report.html")
    assert verdict(root) == "damaged"
    assert len(list(root.iter(f"{SVG}svg"))) == 1
    assert any(one.get("class") == "bad" for one in root.iter(f"{SVG}path"))
    text = words(root)
    assert f"Broken link: {sample.MIDDLE}: the parent was not found" in text
    assert f"{layers.parent / sample.BASE} does not exist" in text
    assert "There is no map:" in text


def test_another_file_in_the_place_of_the_parent(layers: Path) -> None:
    base = layers.parent / sample.BASE
    base.unlink()
    NativeEngine().create(LocalFileSystem(layers.parent), sample.BASE, sample.SIZE)
    assert report(layers, layers.parent / "report.html") == 0
    root = checked(layers.parent / "report.html")
    assert "not the parent: base.vhdx" in words(root)


@pytest.mark.parametrize("place", [0, 65536 + 8, 192 << 10, (192 << 10) + 100, 1 << 20, 2 << 20, 3 << 20])
def test_a_damaged_image_is_reported(tmp_path: Path, place: int) -> None:
    NativeEngine(new_id=counting_ids()).create(LocalFileSystem(tmp_path), "disk.vhdx", 64 * MIB)
    image = tmp_path / "disk.vhdx"
    content = bytearray(image.read_bytes())
    for at in range(place, min(place + (128 << 10), len(content)), 64 << 10):
        content[at : at + 64] = bytes(byte ^ 0xFF for byte in content[at : at + 64])
    image.write_bytes(content)
    assert report(image, tmp_path / "report.html") == 0
    checked(tmp_path / "report.html")


@pytest.mark.parametrize("content", [b"", b"x", b"vhdxfile" + bytes(5 << 20), b"conectix" * 1000], ids=len)
def test_bytes_that_are_no_image(tmp_path: Path, content: bytes) -> None:
    image = tmp_path / "junk"
    image.write_bytes(content)
    assert report(image, tmp_path / "report.html") == 0
    root = checked(tmp_path / "report.html")
    assert verdict(root) == "damaged"
    assert "Not readable" in words(root)


def test_a_raw_disk_when_it_is_said_to_be_one(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(MIB))
    assert report(image, tmp_path / "report.html", "-f", "raw") == 0
    assert "raw, fixed" in words(checked(tmp_path / "report.html"))


def test_an_image_in_use_is_reported_without_what_would_have_to_hold_still(layers: Path) -> None:
    storage = LocalFileSystem().open(str(layers), Access.WRITE)
    try:
        assert report(layers, layers.parent / "report.html") == 0
    finally:
        storage.close()
    root = checked(layers.parent / "report.html")
    assert verdict(root) == "not checked"
    assert "in use" in words(root)
    assert len(list(root.iter(f"{SVG}svg"))) == 1


def test_nothing_in_an_image_is_more_than_text(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    engine = NativeEngine(new_id=counting_ids())
    creator = "</td><script>alert(1)</script>\x1b[2J\u202e{{ 7 * 191 }}"
    engine.create(files, "base.vhdx", 8 * MIB, CreateOptions(creator=creator))
    engine.create_child(files, "leaf.vhdx", "base.vhdx")
    leaf = tmp_path / "<img src=x onerror=alert(1)>&'\".vhdx"
    (tmp_path / "leaf.vhdx").rename(leaf)
    for image, shown in ((tmp_path / "base.vhdx", "</td><script>alert(1)</script>\\x1b[2J\\u202e"), (leaf, leaf.name)):
        assert report(image, tmp_path / "report.html", "--force") == 0
        text = (tmp_path / "report.html").read_text()
        assert "<script>" not in text
        assert "\u202e" not in text
        assert shown in words(checked(tmp_path / "report.html"))
        assert ("{{ 7 * 191 }}" in text) == (image != leaf)


def test_a_page_is_replaced_only_when_told_to(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = layers.parent / "report.html"
    output.write_text("mine")
    assert report(layers, output) == 4
    assert "--force" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert report(layers, output, "--force") == 0
    checked(output)
    assert [path.name for path in layers.parent.iterdir() if ".tmp" in path.name] == []


@pytest.mark.parametrize("name", [sample.LEAF, sample.MIDDLE, sample.BASE])
def test_no_layer_is_replaced_by_its_report(layers: Path, name: str) -> None:
    before = (layers.parent / name).read_bytes()
    link = layers.parent / "link.html"
    link.symlink_to(name)
    for output in (layers.parent / name, link):
        assert report(layers, output, "--force") == 4
    assert (layers.parent / name).read_bytes() == before


def test_no_image_no_page(tmp_path: Path) -> None:
    assert report(tmp_path / "none.vhdx", tmp_path / "report.html") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_no_temporary(layers: Path) -> None:
    assert report(layers, layers.parent / "nowhere" / "report.html") == 1
    assert not list(layers.parent.glob("**/*.tmp"))


def test_findings_without_end_make_a_page_of_some(tmp_path: Path) -> None:
    code, rule = next((code, rule) for code, rule in CODES.items() if rule.severity is Severity.ERROR)
    finding = Finding(code, rule.severity, rule.structure, 1, "wrong", rule.section, "a.vhdx")
    findings = Findings("a.vhdx")
    findings.collect(finding for _ in range(20_000))
    shown, left = findings.tables()
    assert len(shown.rows) == 300
    assert left.left_out == "19700 more findings are not shown."
    assert findings.verdict.text == "20000 errors"


def test_structures_without_end_are_cut_and_counted() -> None:
    def structures(count: int, fields: int) -> Iterator[Structure]:
        for number in range(count):
            many = tuple(Field(f"entry {one}", one * 8, bytes(8), one, "") for one in range(fields))
            yield Structure(DumpPart.BAT, f"page {number}", number, fields * 8, many, "", ())

    cut = chapter(DumpPart.BAT, structures(1, 5000), "a.vhdx")
    assert cut is not None
    assert len(cut.tables[0].rows) == 200
    assert cut.tables[0].left_out == "4800 of 5000 fields are omitted."
    several = chapter(DumpPart.BAT, structures(1000, 10), "a.vhdx")
    assert several is not None
    assert len(several.tables) == 20
    assert several.left_out.startswith("980 structures of this kind are omitted; vhdx-inspect dump a.vhdx bat")
    endless = chapter(DumpPart.BAT, structures(1 << 60, 100), "a.vhdx")
    assert endless is not None
    assert "or more structures" in endless.left_out


def test_a_browser_shows_the_page(layers: Path) -> None:
    browser = sample.browser()
    if browser is None:
        pytest.skip("no chromium on this machine")
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    output, picture = layers.parent / "report.html", layers.parent / "report.png"
    assert report(layers, output) == 0
    seen = sample.browse(browser, output, "--dump-dom")
    assert "<h1>tuesday.vhdx</h1>" in seen
    assert seen.rstrip().endswith("</html>")
    sample.screenshot(browser, output, picture)
    with image.open(picture) as shot:
        assert shot.size == (1180, 1500)
        colors = {color: count for count, color in shot.convert("RGB").getcolors(1 << 24)}
    # The page chooses its own shade where the browser prefers a dark one.
    assert any(colors.get(blue, 0) > 1000 for blue in ((0x00, 0x72, 0xB2), (0x3E, 0xA6, 0xE8)))
    assert len(colors) > 50
