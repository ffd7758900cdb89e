"""What is imported when: the price of a name is paid by who uses it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import vhdx

PROJECT = Path(__file__).parent.parent


def modules_after(code: str) -> set[str]:
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in shown.stdout.split()} | set(shown.stdout.split())


def test_importing_the_package_loads_none_of_it() -> None:
    assert not {name for name in modules_after("import vhdx") if name.startswith("vhdx.")}


def test_local_files_need_no_network_and_no_framework() -> None:
    loaded = modules_after("from vhdx import NativeEngine, LocalFileSystem; NativeEngine(), LocalFileSystem()")
    assert not loaded & {"smbprotocol", "spnego", "cryptography", "oslo_config", "oslo_concurrency", "cinder"}


def test_the_driver_core_needs_no_cinder() -> None:
    loaded = modules_after("import smbfs_driver.volumes.volumes, smbfs_driver.shares.shares")
    assert not loaded & {"cinder", "oslo_config", "oslo_concurrency", "smbprotocol"}


def test_every_public_name_is_there() -> None:
    for name in vhdx.__all__:
        assert getattr(vhdx, name)
    assert set(vhdx.__all__) <= set(dir(vhdx))


def test_without_smbprotocol_the_extra_is_named() -> None:
    code = "import sys; sys.modules['smbprotocol'] = None; import vhdx; vhdx.SmbPool"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1].endswith("install this package with its extra, vhdx[smb]")


def test_a_cinder_has_what_the_tests_import() -> None:
    """Its environment is made of a list of its own, and its tests begin with the conftest of all.

    What is left out is imported by tests that no Cinder runs.
    """
    groups = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]
    needed = {re.split(r"[<>=]", package)[0] for package in groups["test"]} - {"libvhdi-python", "import-linter"}
    listed = (PROJECT / "tests/cinder/requirements/cinder.txt").read_text().splitlines()
    assert needed <= {line.partition("==")[0] for line in listed}
