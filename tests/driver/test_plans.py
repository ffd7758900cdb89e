"""What operations come to, without any files."""

import pytest

from smbfs_driver.volumes import plans
from smbfs_driver.volumes.info import Info
from smbfs_driver.volumes.names import VolumeNames
from smbfs_driver.volumes.plans import Plan, VolumeState
from smbfs_driver.volumes.steps import (
    CreateChild,
    Discard,
    Merge,
    Relink,
    Remove,
    Resize,
    Step,
    WriteInfo,
    decode,
    encode,
)
from tests.driver.kits import OTHER, VOLUME, A, B, C
from vhdx.errors import Error

NAMES = VolumeNames(VOLUME)
BASE, OF_A, OF_B, OF_C = NAMES.base, NAMES.snapshot(A), NAMES.snapshot(B), NAMES.snapshot(C)
TWO = VolumeState(NAMES, Info(OF_B, {A: OF_A, B: OF_B}), [OF_B, OF_A, BASE])


def test_a_snapshot_is_taken_back_unless_the_document_names_it() -> None:
    document = {"active": OF_C, A: OF_A, B: OF_B, C: OF_C}
    assert plans.create_snapshot(TWO, C) == Plan([CreateChild(OF_C, OF_B), WriteInfo(document)], undo=[Discard(OF_C)])


def test_the_latest_snapshot_is_merged_into_what_becomes_active() -> None:
    steps: list[Step] = [Merge(OF_B, OF_A, "refuse"), WriteInfo({"active": OF_A, A: OF_A}), Discard(OF_B)]
    assert plans.delete_snapshot(TWO, B) == Plan(steps)


def test_an_older_snapshot_is_merged_from_under_the_layer_above() -> None:
    merge, document = Merge(OF_A, BASE, "refuse"), WriteInfo({"active": OF_B, B: OF_B})
    steps: list[Step] = [merge, Relink(OF_B, BASE), document, Discard(OF_A)]
    assert plans.delete_snapshot(TWO, A) == Plan(steps)


def test_a_snapshot_that_is_not_there_takes_no_steps() -> None:
    assert plans.delete_snapshot(TWO, C) == Plan([])


def test_what_deletes_is_finished_and_what_creates_is_undone() -> None:
    finished = plans.delete_snapshot(TWO, A)
    assert finished.recovery == finished.steps
    assert plans.create_snapshot(TWO, C).recovery == [Discard(OF_C)]
    assert plans.extend(TWO, 512, 1024).recovery == []
    assert plans.revert_to_latest(TWO, B).recovery == []


def test_extending_concerns_the_active_file() -> None:
    assert plans.extend(TWO, 512, 1024).steps == [Resize(OF_B, 1024)]
    assert plans.extend(TWO, 1024, 1024).steps == []


def test_reverting_replaces_the_active_file() -> None:
    assert plans.revert_to_latest(TWO, B).steps == [CreateChild(OF_B, OF_A, replace=True)]


def test_a_volume_is_removed_leaf_first_and_its_document_last() -> None:
    listing = sorted([BASE, OF_A, OF_B, NAMES.info, NAMES.intent, f"{BASE}.0a1b2c3d.tmp", OF_C, f"{OTHER}.vhdx"])
    steps = plans.delete_volume(NAMES, listing, TWO.chain).steps
    assert steps == [Remove(file) for file in (OF_C, f"{BASE}.0a1b2c3d.tmp", OF_B, OF_A, BASE, NAMES.info)]


@pytest.mark.parametrize(
    ("info", "chain"),
    [
        (Info(OF_A, {A: OF_A}), [OF_A, f"{OTHER}.vhdx"]),
        (Info(OF_A, {A: OF_A}), [OF_A]),
        (Info(OF_A, {A: OF_A}), [BASE]),
        (Info(OF_A, {A: OF_A, B: OF_B}), [OF_A, BASE]),
        (Info(OF_A, {A: OF_A}), []),
        (Info(BASE), [f"sub/{BASE}"]),
    ],
    ids=["another volume's", "no base", "another leaf", "a snapshot beside it", "nothing", "another directory"],
)
def test_a_chain_that_does_not_fit_is_refused(info: Info, chain: list[str]) -> None:
    with pytest.raises(Error, match=VOLUME):
        VolumeState(NAMES, info, chain)


def test_steps_survive_as_json() -> None:
    steps = [*plans.delete_snapshot(TWO, A).steps, *plans.delete_volume(NAMES, [BASE, NAMES.info]).steps]
    assert decode(encode(steps), NAMES, "here") == steps


HOSTILE: dict[str, object] = {
    "no list": {},
    "no object": ["merge"],
    "no step": [{}],
    "an unknown step": [{"step": "format", "path": BASE}],
    "a field too many": [{"step": "remove", "path": BASE, "force": True}],
    "a field too few": [{"step": "merge", "top": OF_A}],
    "a consent that nobody knows": [{"step": "merge", "top": OF_A, "target": BASE, "shrink": "perhaps"}],
    "a consent that is no text": [{"step": "merge", "top": OF_A, "target": BASE, "shrink": ["refuse"]}],
    "another volume's file": [{"step": "remove", "path": f"{OTHER}.vhdx"}],
    "a path": [{"step": "remove", "path": f"../{BASE}"}],
    "the intent": [{"step": "remove", "path": NAMES.intent}],
    "a number": [{"step": "remove", "path": 1}],
    "a hostile document": [{"step": "write_info", "document": {"active": f"{OTHER}.vhdx"}}],
    "no document": [{"step": "write_info", "document": 1}],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_steps_that_touch_what_is_not_the_volumes_are_refused(case: str) -> None:
    with pytest.raises(Error, match=r"^here: "):
        decode(HOSTILE[case], NAMES, "here")
