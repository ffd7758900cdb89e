"""The README's example does what it says."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[0]
    assert "/srv/disks" in example
    exec(compile(example.replace("/srv/disks", str(tmp_path)), "README.md", "exec"), {})
    assert "any offset, any length" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["base.vhdx"]
