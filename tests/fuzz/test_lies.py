"""Images of every kind with one lie in them: an answer or a refusal, never anything else, and no content lost.

How many lies are told to each kind of image is set by the environment variable ``VHDX_FUZZ_EXAMPLES``.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.laws import (
    REFUSALS,
    Budget,
    Contents,
    content,
    contents,
    engine,
    inspected,
    is_sound,
    opened_for_writing,
    readable,
    refusing,
    space_claimed,
)
from tests.fuzz.lies import Lie, lies
from tests.fuzz.subjects import MAKERS, Subject, subject
from tests.fuzz.verbs import VERBS, Verb
from tests.support.choice import examples
from tests.support.disks import MIB
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import WatchedFileSystem
from vhdx.check import Finding

EXAMPLES = int(os.environ.get("VHDX_FUZZ_EXAMPLES", "20"))
PROFILE = settings(
    max_examples=examples(EXAMPLES),
    deadline=None,
    derandomize="VHDX_FUZZ_EXAMPLES" not in os.environ,
    # Not Phase.explain, which traces every line of what failed: a lie is short as it is.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
UNCHANGEABLE = {"header-no-log", "vhd-saved-state"}
"""Findings that are no faults, of images that can be read and not written."""


def judge_looking(made: Subject, files: MemoryFileSystem) -> list[Finding]:
    """Nothing is found wrong: it opens and reads."""
    findings = inspected(files, made.paths[0])
    before = readable(files, made.paths[0])
    told = {finding.code for finding in findings}
    if not is_sound(findings):
        with refusing():
            opened_for_writing(files, made.paths[0])
    elif not told & UNCHANGEABLE:
        opened_for_writing(files, made.paths[0])
        content(files, made.paths[0])
    after = readable(files, made.paths[0])
    assert before is None or before == after, "opening for writing changed the disk"
    return findings


def judge_verb(made: Subject, verb: Verb, files: MemoryFileSystem) -> bool:
    """A verb refuses and every disk reads as before, or does what it is for and nothing else. Whether it was done."""
    before, names, sound = contents(files), files.paths(), is_whole(made, files)
    size = space_claimed(files) + sum(len(disk or b"") for disk in before.values())
    expected, done = before, True
    try:
        verb.act(WatchedFileSystem(files, Budget.of(files, writing=True)), made.paths)
    except REFUSALS:
        done = False
        assert files.paths() == names, "a refusal left something behind"
    else:
        expected = verb.expect(before, made.paths)
    for path, wanted in expected.items():
        if wanted is not None:
            assert readable(files, path) == wanted, f"{path} reads otherwise than before"
    assert space_claimed(files) <= size + 64 * MIB, "the files grew without a reason"
    assert not done or not sound or is_whole(made, files, expected), "done to a sound disk, and now it is not"
    return done


def is_whole(made: Subject, files: MemoryFileSystem, expected: Contents | None = None) -> bool:
    """Whether no fault is found in any layer, or in any of the disks that are expected to be there."""
    paths = [path for path, disk in expected.items() if disk is not None] if expected else made.paths
    return all(is_sound(list(engine().check(files, path))) for path in paths)


@pytest.mark.parametrize("name", MAKERS)
@PROFILE
@given(st.data())
def test_a_few_lies(name: str, data: st.DataObject) -> None:
    made = subject(name)
    told: list[Lie] = data.draw(st.lists(lies(name), min_size=1, max_size=2))
    judge_looking(made, deceived(made, told))
    verb = data.draw(st.sampled_from(verbs(made)))
    judge_verb(made, VERBS[verb], deceived(made, told, optional=data.draw(st.booleans())))


def deceived(made: Subject, told: list[Lie], *, optional: bool = True) -> MemoryFileSystem:
    """A copy of the disk's files with lies in them."""
    files = made.copy(optional=optional)
    for lie in told:
        lie.tell(files)
    return files


def verbs(made: Subject) -> list[str]:
    """Those that there are layers enough for."""
    return [key for key, verb in VERBS.items() if verb.layers <= len(made.paths)]


REFUSED = {
    ("vhdx-fixed", "compact"),
    ("vhdx-fixed", "compact unscanned"),
    ("vhd-fixed", "compact"),
    ("vhd-fixed", "compact unscanned"),
    ("vhdx-4096", "convert to vhd"),
}
"""What is refused of a sound image."""


@pytest.mark.parametrize("name", MAKERS)
def test_the_subjects_are_sound(name: str) -> None:
    made = subject(name)
    files = made.copy()
    assert is_sound(judge_looking(made, files))
    assert contents(files) == made.contents
    for verb in verbs(made):
        assert judge_verb(made, VERBS[verb], made.copy()) is ((name, verb) not in REFUSED), verb
