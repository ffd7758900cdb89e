"""What is put right is right, is what was announced, changes nothing else, and can be taken back."""

import pytest

from tests.repair.cases import back, content, do, errors, findings, held, made, plan, readable
from tests.repair.damages import DAMAGES
from tests.support.memory import MemoryFileSystem


@pytest.mark.parametrize("name", DAMAGES)
def test_it_is_said_done_and_taken_back(name: str) -> None:
    damage, disk, files, path = made(name)
    before, read = files.fingerprint(path), readable(files, path)
    planned = plan(files, path, damage.format)
    assert files.fingerprint(path) == before, "a plan changes nothing"
    assert [fix.code for fix in planned] == list(damage.codes)
    assert damage.text in "; ".join(map(str, planned))
    assert "undo" not in files.paths()

    assert do(files, path, damage.format) == planned
    assert files.fingerprint(path) != before
    content(disk, files)
    assert read is None or held(files, path) == read
    assert not errors(files, path)
    assert not {finding.code for finding in findings(files, path)} & {*damage.codes} - {"space-unused"}
    assert do(files, path, damage.format, "second") == []
    assert "second" not in files.paths(), "nothing had to be done"

    for _ in range(2):
        back(files, path)
        assert files.fingerprint(path) == before
    assert plan(files, path, damage.format) == planned


@pytest.mark.parametrize("name", DAMAGES)
def test_without_optional_operations(name: str) -> None:
    damage, disk, plenty, path = made(name)
    files = MemoryFileSystem(plenty.snapshot(), optional=False)
    before = files.fingerprint(path)
    assert [fix.code for fix in do(files, path, damage.format)] == list(damage.codes)
    content(disk, files)
    assert do(files, path, damage.format, "second") == []
    back(files, path)
    assert files.fingerprint(path) == before
