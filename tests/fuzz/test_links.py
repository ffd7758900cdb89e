"""Records of a parent that are well formed and lie: another file, the layer itself, a circle, another id, no file."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.laws import refusing
from tests.fuzz.subjects import Subject, subject
from tests.fuzz.test_lies import PROFILE, judge_looking, judge_verb, verbs
from tests.fuzz.verbs import VERBS, Verb
from tests.support.choice import few
from tests.support.disks import counting_ids
from tests.support.memory import MemoryFileSystem
from vhdx.image.base import ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access

SUBJECTS = ("vhd-differencing", "vhdx-differencing", "vhdx-dirty", "vhdx-4096")
KEYS = ("relative_path", "volume_path", "absolute_win32_path", "parent_name")
ELSEWHERE = (
    "..\\..\\etc\\passwd",
    "..",
    ".",
    "\\",
    "/",
    "C:\\disks\\0.vhdx",
    "\\\\?\\Volume{0}\\0.vhd",
    "sub\\0.vhdx",
    ".\\missing.vhdx",
    "con",
    "0.vhdx ",
    "0.VHDX",
    "0.vhd:stream",
    "a" * 300,
    ".\\" * 3000 + "0.vhd",
    "\x01",
    "\U0001f4be\u202e.vhd",
)


def paths(made: Subject) -> st.SearchStrategy[str]:
    inside = [spelling for path in made.paths for spelling in (path, f".\\{path}", f"x\\..\\{path}")]
    return st.sampled_from([*inside, *inside, *ELSEWHERE]) | st.text(max_size=12)


def links(made: Subject, ids: list[UUID]) -> st.SearchStrategy[ParentLink]:
    """Records that claim the id of any layer, or of none."""
    known = st.sampled_from([*ids, *ids, UUID(int=0), UUID(int=77)])
    places = st.dictionaries(st.sampled_from(KEYS), paths(made), max_size=3)
    return st.builds(ParentLink, known, st.none() | known, places)


def linkages(made: Subject) -> list[UUID]:
    """The ids of the layers, by which their children know them."""
    ids = []
    for path in made.paths:
        image = open_image(made.copy().open(path, Access.INSPECT), new_id=counting_ids())
        assert image.info.linkage is not None
        ids.append(image.info.linkage)
        image.close()
    return ids


def record(files: MemoryFileSystem, path: str, link: ParentLink) -> None:
    """Put a record into an image, as far as it can be recorded."""
    image = open_image(files.open(path, Access.WRITE), new_id=counting_ids(300))
    try:
        with refusing():
            image.set_parent(link)
    finally:
        image.close()


@pytest.mark.parametrize("name", SUBJECTS)
@PROFILE
@given(st.data())
def test_links_that_lie(name: str, data: st.DataObject) -> None:
    made = subject(name)
    ids = linkages(made)
    told = data.draw(st.lists(st.tuples(st.sampled_from(made.paths[:-1]), links(made, ids)), min_size=1, max_size=2))
    judge_looking(made, linked(made, told))
    verb = data.draw(st.sampled_from(verbs(made)))
    judge_verb(made, _without_old_parent(verb), linked(made, told))


def _without_old_parent(verb: str) -> Verb:
    """The verb; a relinked leaf reads through another layer than before where its record led somewhere else."""
    return VERBS[verb]._replace(expect=VERBS["relink lower"].expect) if verb == "relink" else VERBS[verb]


def linked(made: Subject, told: list[tuple[str, ParentLink]]) -> MemoryFileSystem:
    files = made.copy()
    for path, link in told:
        record(files, path, link)
    return files


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize(("above", "below"), few([(0, 0), (1, 1), (1, 0)], 1))
def test_a_circle(name: str, above: int, below: int) -> None:
    made = subject(name)
    told = [(made.paths[above], ParentLink(linkages(made)[below], None, {"relative_path": f".\\{made.paths[below]}"}))]
    for verb in verbs(made):
        judge_verb(made, _without_old_parent(verb), linked(made, told))
    judge_looking(made, linked(made, told))
