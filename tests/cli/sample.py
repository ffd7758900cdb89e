"""A disk in three layers with something of everything, and the pictures of it in docs/images.

``python -m tests.cli.sample`` makes those again; it needs chromium and Pillow.
"""

import io
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.cli import pictures
from vhdx.image.base import CreateOptions
from vhdx.storage.base import FileSystem
from vhdx.verbs.engine import NativeEngine

LEAF, MIDDLE, BASE, CLONE = "tuesday.vhdx", "monday.vhdx", "base.vhdx", "test-clone.vhdx"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
SIZE = 256 * MIB


def three_layers(files: FileSystem, engine: NativeEngine | None = None) -> NativeEngine:
    """LEAF over MIDDLE over BASE, and CLONE, a sibling of LEAF; always the same."""
    engine = engine or NativeEngine(new_id=counting_ids())
    engine.create(files, BASE, SIZE, CreateOptions(block_size=2 * MIB))
    _use(engine, files, BASE, writes=20, reach=140, longest=2000, zeroed=())
    engine.create_child(files, MIDDLE, BASE)
    _use(engine, files, MIDDLE, writes=14, reach=200, longest=700, zeroed=((80, 8), (24, 6)))
    engine.create_child(files, LEAF, MIDDLE)
    _use(engine, files, LEAF, writes=9, reach=256, longest=500, zeroed=((96, 4),))
    engine.create_child(files, CLONE, MIDDLE)
    return engine


def _use(
    engine: NativeEngine,
    files: FileSystem,
    path: str,
    *,
    writes: int,
    reach: int,
    longest: int,
    zeroed: tuple[tuple[int, int], ...],
) -> None:
    chance = random.Random(path)
    with engine.open_chain(files, path, writable=1) as chain:
        # Before the writes: a block that is given back would be a finding.
        for start, length in zeroed:
            chain.zero(start * MIB, length * MIB)
        for number in range(writes):
            length = chance.randrange(1, longest) * 4096
            chain.write(chance.randrange((reach * MIB - length) // 4096) * 4096, pattern(number, length))


@dataclass
class Shown:
    """Files that lie in a directory of a server, as far as pictures say."""

    inner: MemoryFileSystem

    def describe(self, path: str) -> str:
        """Where *path* seems to be."""
        return f"/srv/images/{path}"

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def browser() -> str | None:
    """The headless browser of this machine."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return next(filter(None, found), None)


def screenshot(program: str, document: Path, picture: Path, *, width: int = 1180, height: int = 1500) -> None:
    """What a browser shows of *document*."""
    browse(program, document, f"--screenshot={picture}", f"--window-size={width},{height}", "--hide-scrollbars")


def browse(program: str, document: Path, *options: str) -> str:
    """What a headless browser prints that opens *document*, with a profile of its own."""
    profile = document.parent / "profile"
    try:
        return subprocess.run(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             f"--user-data-dir={profile}", *options, document.as_uri()],
            check=True, capture_output=True, text=True, timeout=120,
        ).stdout
    finally:
        shutil.rmtree(profile, ignore_errors=True)


def _main() -> None:
    from tempfile import TemporaryDirectory

    from PIL import Image

    from vhdx.cli.pictures.page import html
    from vhdx.cli.pictures.report import Subject, page

    files = Shown(MemoryFileSystem())
    chance = random.Random(1)
    engine = NativeEngine(new_id=lambda: UUID(int=chance.getrandbits(128), version=4))
    three_layers(files, engine)  # type: ignore[arg-type]
    with engine.open_chain(files, LEAF) as chain:  # type: ignore[arg-type]
        assert isinstance(chain, Chain)
        found = pictures.survey(chain, [files.describe(layer.path) for layer in chain.layers])
    (IMAGES / "map.svg").write_text(pictures.svg(found) + "\n")
    subject = Subject(files, LEAF, engine)  # type: ignore[arg-type]
    subject.explore()
    program = browser()
    assert program, "no chromium"
    with TemporaryDirectory() as name:
        document, picture = Path(name, "report.html"), Path(name, "report.png")
        document.write_text(html(page(subject, made="2026-01-15 09:30 UTC", version="0.1.0")))
        screenshot(program, document, picture, height=2060)
        shot = Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")
    shot.quantize(256, dither=Image.Dither.NONE).save(IMAGES / "report.png", optimize=True)


if __name__ == "__main__":
    _main()
