"""What Microsoft's metadata says of virtdisk.dll: fixtures/win32_facts.json, which fixtures/win32_facts.py writes."""

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent.parent.parent / "fixtures" / "win32_facts.json"
FACTS: dict[str, Any] = json.loads(PATH.read_text())
