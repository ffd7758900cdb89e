"""The order of the tests, long ones first, and which process runs which (pytest-xdist)."""

from collections.abc import Mapping, Sequence
from zlib import crc32

import pytest
from xdist.scheduler import LoadFileScheduling

SECONDS = {
    "driver/test_sigkill.py": 160,
    "crash/test_histories.py": 65,
    "driver/test_upgrade.py": 45,
    "verbs/test_merge_stops.py": 35,
    "crash/test_vhd.py": 35,
    "interop/test_random_images.py": 34,
    "driver/test_interruption.py": 33,
    "crash/test_exhaustive.py": 31,
    "storage/test_smb_loss.py": 26,
    "dump/test_dump.py": 23,
    "docs/test_howto.py": 20,
    "chain/test_parents.py": 20,
    "crash/test_side_by_side.py": 20,
    "driver/test_requests.py": 20,
    "test_contracts.py": 20,
    "driver/test_load.py": 20,
    "fuzz/test_lies.py": 20,
    "cli/test_shares.py": 15,
    "interop/test_share.py": 15,
    "cli/test_exit_codes.py": 12,
    "interop/test_golden_vhd.py": 12,
    "driver/test_crash.py": 11,
    "driver/test_log_on.py": 10,
    "fuzz/test_links.py": 10,
    "repair/test_mutations.py": 10,
    "repair/test_stopped.py": 10,
    "chain/test_model.py": 9,
    "check/test_laws.py": 9,
    "image/test_fallbacks.py": 9,
    "storage/test_smb.py": 9,
    "fuzz/test_memory.py": 7,
    "storage/test_local_close.py": 7,
    "storage/test_smb_logon.py": 7,
}
"""About how long the longest files take in `tests-all`, by their path under tests/; what is not here is short."""

_LONG = 0.02
"""Of all the time that a run takes: what a long file takes."""

PARTS = {
    "driver/test_sigkill.py": 4,
    "crash/test_histories.py": 3,
    "driver/test_upgrade.py": 2,
    "verbs/test_merge_stops.py": 2,
}
"""In how many parts a file is run whose tests need not stay together."""


class ByFile(LoadFileScheduling):  # type: ignore[misc]
    """A file's tests in one process, but a long file may be cut; in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        parts = PARTS.get(_under_tests(file), 1)
        return file if parts == 1 else f"{file}::{crc32(nodeid.encode()) % parts}"


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The same tests, so that no process is alone with a long file in the end."""
    return sorted(items, key=lambda item: -_weight(_under_tests(item.nodeid.partition("::")[0])))


def unlisted(seconds: Mapping[str, float]) -> list[str]:
    """Which files of a whole run, with how long each took, belong into the table and are not there."""
    total = sum(seconds.values())
    files = [file for file, taken in seconds.items() if taken > total * _LONG and not _weight(_under_tests(file))]
    return [f"{file} takes {seconds[file] / total:.0%} of the time: tell tests.support.schedule" for file in files]


def _under_tests(file: str) -> str:
    return file.removeprefix("tests/")


def _weight(file: str) -> float:
    return SECONDS.get(file, 0) / PARTS.get(file, 1)
