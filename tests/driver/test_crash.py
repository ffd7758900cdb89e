"""Every operation, with the server's power cut at each point: whatever of the unflushed survives, recovery fits."""

import pytest

from tests.driver.kits import VOLUME, B, Bench
from tests.driver.scenarios import SCENARIOS, check_settled, outcomes, prepared
from tests.support.crash import crash_states
from tests.support.recording import RecordingFileSystem, SyncDirectory


@pytest.mark.parametrize("samples", [25, pytest.param(200, marks=pytest.mark.more)])
@pytest.mark.parametrize("case", SCENARIOS)
def test_whatever_survives_a_crash_an_operation_is_done_or_never_was(case: str, samples: int) -> None:
    kit_name = "native"  # the other makes no promises about torn writes
    recorder = RecordingFileSystem(prepared(kit_name, case))
    SCENARIOS[case].operate(Bench.on(recorder, kit_name, start=1 << 16))
    # An intent that could come back after a success would run against what was done since.
    assert isinstance(recorder.events[-1], SyncDirectory)
    end, checked = len(recorder.events), 0
    for state in crash_states(recorder, samples=samples, seed=1):
        found = check_settled(state.files, kit_name, case, f"{case}, {state.description}")
        # Success is told only when it is durable.
        assert state.event_index < end or found == outcomes(kit_name, case)[1], state.description
        checked += 1
    assert checked > end // 2, "too few states to tell"


def test_an_operation_that_is_over_does_not_come_back() -> None:
    recorder = RecordingFileSystem(prepared("native", "delete latest"))
    bench = Bench.on(recorder, "native", start=1 << 16)
    bench.volumes.delete_snapshot(VOLUME, B)
    first, after_first = len(recorder.events), bench.picture()
    bench.write(7, 7)
    bench.volumes.create_snapshot(VOLUME, B)
    end, after_all = len(recorder.events), bench.picture()
    for state in crash_states(recorder, samples=100, seed=2):
        if state.event_index < first:
            continue
        again = Bench.on(state.files, "native", start=1 << 20)
        assert not again.volumes.recover().failed, state.description
        assert again.strays() == set(), state.description
        picture = again.picture()
        assert picture is not None
        assert after_first is not None
        assert {**picture["active"], 7: 7} == {**after_first["active"], 7: 7}, state.description
        assert state.event_index < end or picture == after_all, state.description
