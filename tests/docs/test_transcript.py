"""Pages that do not hold what they show are found out."""

from pathlib import Path

import pytest

from tests.docs.transcript import run, steps

PAGE = """\
<!-- setup
echo prepared > file
-->
```console
$ cat file
{shown}
$ {command}
$ echo $?
{code}
```
"""


def wrong(directory: Path, **parts: str) -> list[str]:
    place = directory / "disks"
    place.mkdir()
    page = PAGE.format(**{"shown": "prepared", "command": "(exit 3)", "code": "3", **parts})
    return run(steps(page), place, {}, {})


def test_a_page_that_is_right(tmp_path: Path) -> None:
    assert wrong(tmp_path) == []


@pytest.mark.parametrize("parts", [{"shown": "other"}, {"shown": ""}, {"code": "4"}, {"command": "echo more"}])
def test_a_page_that_is_wrong(tmp_path: Path, parts: dict[str, str]) -> None:
    assert wrong(tmp_path, **parts)


def test_a_failure_is_shown_with_its_code(tmp_path: Path) -> None:
    place = tmp_path / "disks"
    place.mkdir()
    assert run(steps("```console\n$ false\n$ true\n```\n"), place, {}, {})


def test_the_directory_has_another_name_in_the_page(tmp_path: Path) -> None:
    place = tmp_path / "disks"
    place.mkdir()
    assert run(steps("```console\n$ pwd\n/srv/disks\n$ ls /srv/disks\n```\n"), place, {}, {}) == []
