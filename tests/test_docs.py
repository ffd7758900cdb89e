"""The examples of the guides do what they show.

Every block of Python in docs/ is a session (``>>>``) and is run, those of one file as one session, in an empty
directory. A guide whose examples speak of ``smb://fileserver/disks`` has that served by a private Samba.
"""

import doctest
import io
import re
from pathlib import Path

import pytest

from tests.support.smbd import Smbd, unavailable

ROOT = Path(__file__).parent.parent
GUIDES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
SHARE = "smb://fileserver/disks"
FLAGS = doctest.ELLIPSIS

_FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str]]:
    """Python blocks and the number of lines before each."""
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in _FENCE.finditer(text)]


def session(text: str) -> str:
    """The blocks that are sessions, each on the lines where it was, so that failures name the right ones."""
    lines = [""] * (text.count("\n") + 1)
    for before, block in blocks(text):
        if ">>>" in block:
            lines[before : before + block.count("\n")] = block.splitlines()
    return "\n".join(lines)


def run(path: Path, text: str) -> None:
    examples = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, path.name, str(path), 0)
    said = io.StringIO()
    results = doctest.DocTestRunner(optionflags=FLAGS).run(examples, out=said.write)
    assert not results.failed, said.getvalue()
    assert results.attempted


LOCAL = [path for path in GUIDES if (text := session(path.read_text())).strip() and SHARE not in text]
SHARED = [path for path in GUIDES if SHARE in session(path.read_text())]


def test_every_block_of_the_guides_is_a_session() -> None:
    assert LOCAL
    assert SHARED
    for path in GUIDES:
        if path.parent.name == "docs":
            for before, block in blocks(path.read_text()):
                assert block.startswith(">>> "), f"{path.name}:{before + 1}"


@pytest.mark.parametrize("path", LOCAL, ids=lambda path: path.name)
def test_a_guide(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(path, session(path.read_text()))


@pytest.mark.smb
@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.name)
def test_a_guide_to_shares(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    server = Smbd()
    share = tmp_path / "share"
    share.mkdir()
    server.add_share("disks", share)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISKS_PASSWORD", server.password)
    text = session(path.read_text())
    for told, meant in (
        ('"fileserver", "disks"', f'"{server.host}", "disks", port={server.port}'),
        ("@fileserver/", f"@{server.host}:{server.port}/"),
        ("//fileserver/", f"//{server.host}:{server.port}/"),
        ("operator", server.user),
    ):
        text = text.replace(told, meant)
    with server:
        run(path, text)
