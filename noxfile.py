"""The project's sessions: how it is checked, tested and shown.

``tests`` runs the most telling tests of every kind in a few minutes; ``tests-all`` runs those and the exhaustive ones,
which are marked ``more``. What is marked so and no more is ``tests-all -- -m more``.

``tests``, ``tests-all`` and ``demo`` fetch the Debian packages that they need where they may (as root, with apt-get).
Where they may not they say what is missing and go on: tests that need it are skipped with the reason, the demo runs on
a local directory. Three variables of the environment change that:

* ``VHDX_NO_INSTALL=1``: no system package is fetched.
* ``VHDX_NO_SAMBA=1``: no Samba is fetched, and tests and demo behave as if there were none.
* ``VHDX_BROWSER=1``: a chromium is fetched, too, in which a test looks at a report.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "layers", "tests"]
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True

PYPROJECT = Path("pyproject.toml")
PRODUCT = "-e.[smb,driver,png]"
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Debian keeps smbd and mkfs where an ordinary user's PATH does not look."""

SAMBA = {"smbd": "samba", "pdbedit": "samba-common-bin"}
DISK_TOOLS = {"qemu-img": "qemu-utils", "mke2fs": "e2fsprogs", "mkfs.fat": "dosfstools", "ntfs-3g": "ntfs-3g"}
CLOUD = {
    "mariadbd": "mariadb-server",
    "memcached": "memcached",
    "rabbitmq-server": "rabbitmq-server",
    "redis-server": "redis-server",
    "sudo": "sudo",
}
REALM = {
    "krb5kdc": "krb5-kdc",
    "kadmin.local": "krb5-admin-server",
    "kinit": "krb5-user",
    "krb5-config": "libkrb5-dev",
    "python3-config": "python3-dev",
    "gcc": "gcc",
}
WINE = {"/usr/lib/wine/wine64": "wine64", "x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64"}
BROWSER = {"chromium": "chromium"}
"""Programs, and the Debian packages that hold them."""

SERVICES = ["smbd", "nmbd", "samba-ad-dc"]
"""What the samba package would start, now and at every boot."""

POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian's hook that says whether a package may start its services."""


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff over everything."""
    install(session, groups=["lint"])
    session.run("ruff", "check", *(session.posargs or ["."]))


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, over both packages."""
    install(session, PRODUCT, groups=["lint"])
    session.run("mypy", *session.posargs)


@nox.session
def layers(session: nox.Session) -> None:
    """Who imports whom."""
    install(session, PRODUCT, groups=["lint"])
    session.run("lint-imports", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The most telling tests of every kind; arguments after ``--`` go to pytest."""
    suite(session, "-m", "not more")


@nox.session(name="tests-all")
def tests_all(session: nox.Session) -> None:
    """Every test, the exhaustive ones too; arguments after ``--`` go to pytest."""
    suite(session)


@nox.session
def demo(session: nox.Session) -> None:
    """A volume's whole life, on a private Samba share or else on a local directory."""
    provide(session, "the demo does without them")
    install(session, PRODUCT)
    session.run("python", "demo/lifecycle.py", *session.posargs, env={"PATH": SYSTEM_PATH})


@nox.session
def soak(session: nox.Session) -> None:
    """Random histories, crash states and images for so many MINUTES: ``nox -s soak -- 60``."""
    provide(session, "what needs them is left out")
    install(session, PRODUCT, groups=["test"])
    environment = {"PATH": SYSTEM_PATH, "VHDX_RANDOM_IMAGES": "500"}
    session.run("pytest", "-q", "tests/interop/test_random_images.py", env=environment)
    session.run("python", "-m", "tests.crash.soak", *(session.posargs or ["10"]), env=environment)


@nox.session
def kerberos(session: nox.Session) -> None:
    """The tests of logging on, with a Kerberos realm of their own; as root it fetches what builds and runs one."""
    provide(session, "without them the tests are skipped", REALM)
    install(session, f"{PRODUCT.removesuffix(']')},kerberos]", groups=["test"])
    session.run("pytest", *(session.posargs or ["tests/driver/test_log_on.py"]), env={"PATH": SYSTEM_PATH})


@nox.session
def cinder(session: nox.Session) -> None:
    """The driver in a real Cinder with its services, as root: a life of volumes; arguments go to pytest.

    With VHDX_CINDER_THREADS=1 in native threads instead of under eventlet, with VHDX_CINDER_CLUSTER=1 with two volume
    services that are one cluster.
    """
    in_a_cloud(session, "test")


@nox.session
def tempest(session: nox.Session) -> None:
    """Cinder's own integration tests against the driver, as root; an argument says which: a regular expression."""
    in_a_cloud(session, "tempest")


@nox.session
def load(session: nox.Session) -> None:
    """Four clients of a real Cinder for so many MINUTES, as root, each byte known: ``nox -s load -- 10 --seed 1``."""
    in_a_cloud(session, "load")


def in_a_cloud(session: nox.Session, verb: str) -> None:
    """Run ``python -m tests.cinder`` with what its services need."""
    provide(session, "without them no Cinder can run", CLOUD)
    install(session, PRODUCT, groups=["test"])
    session.run("python", "-m", "tests.cinder", verb, *session.posargs, env={"PATH": SYSTEM_PATH})


@nox.session
def wine(session: nox.Session) -> None:
    """The binding of virtdisk.dll under Wine, with a Python for Windows; as root it fetches Wine (800 MB).

    It calls a stand-in for the library, so it shows what is passed, and not what Microsoft's library does.
    """
    provide(session, "without them nothing can be run under Wine", WINE)
    if missing(WINE):
        session.skip(f"needs {', '.join(missing(WINE).values())}")
    session.run("python", "-m", "tests.wine", session.virtualenv.location, *session.posargs)


@nox.session
def facts(session: nox.Session) -> None:
    """Write fixtures/win32_facts.json anew from Microsoft's metadata, which cargo fetches; or from the file named."""
    install(session, groups=["facts"])
    session.run("python", "fixtures/win32_facts.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Side by side with other software; arguments go to ``python -m benchmarks``."""
    provide(session, "what needs them is left out")
    install(session, PRODUCT, groups=["bench"])
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PATH": SYSTEM_PATH})


def suite(session: nox.Session, *chosen: str) -> None:
    """Run pytest, in as many processes as there are processors; its last ``-m`` counts."""
    provide(session, "tests that need them are skipped")
    install(session, PRODUCT, groups=["test"])
    arguments = ("-n", "auto", "--maxprocesses", "4", *chosen, *session.posargs)
    session.run("pytest", *arguments, env={"PATH": SYSTEM_PATH})


def install(session: nox.Session, *what: str, groups: Sequence[str] = ()) -> None:
    """Install *what* and dependency groups, once for each state of pyproject.toml: a second run needs no network."""
    stamp = Path(session.virtualenv.location, "installed")
    wanted = hashlib.sha256(PYPROJECT.read_bytes() + repr((what, groups, Path.cwd())).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    session.install(*what, *nox.project.dependency_groups(nox.project.load_toml(PYPROJECT), *groups))
    stamp.write_text(wanted)


def provide(session: nox.Session, otherwise: str, more: dict[str, str] | None = None) -> None:
    """Fetch the programs that are missing, quietly, where that is allowed; say which are not there after all."""
    wanted = DISK_TOOLS if os.environ.get("VHDX_NO_SAMBA") else {**SAMBA, **DISK_TOOLS}
    wanted = {**wanted, **(more or {})}
    if os.environ.get("VHDX_BROWSER"):
        wanted = {**wanted, **BROWSER}
    if missing(wanted) and may_fetch():
        session.log(f"fetching {', '.join(missing(wanted).values())}")
        if error := fetch(sorted(missing(wanted).values())):
            session.warn(error)
    if absent := missing(wanted):
        session.warn(f"not there: {', '.join(absent)}; {otherwise} (apt-get install {' '.join(absent.values())})")


def missing(wanted: dict[str, str]) -> dict[str, str]:
    """Those of *wanted* whose program is not found."""
    return {program: package for program, package in wanted.items() if not shutil.which(program, path=SYSTEM_PATH)}


def may_fetch() -> bool:
    """Whether system packages can be installed here and the user has not said no."""
    return not os.environ.get("VHDX_NO_INSTALL") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def fetch(packages: Sequence[str]) -> str | None:
    """Install Debian packages; what went wrong, or None."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": SYSTEM_PATH}
    with services_down():
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            command = ["apt-get", "-qq", *arguments]
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if done.returncode:
                return f"{' '.join(command)} failed: {done.stderr.strip()}"
        if "samba" in packages and shutil.which("systemctl"):
            subprocess.run(["systemctl", "--quiet", "disable", *SERVICES], capture_output=True, check=False)
    return None


@contextmanager
def services_down() -> Iterator[None]:
    """Keep packages from starting their services: a Samba fetched for tests must not begin to serve the machine."""
    try:
        POLICY.touch(mode=0o755, exist_ok=False)
    except FileExistsError:  # the machine has a rule of its own
        yield
        return
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        yield
    finally:
        POLICY.unlink()
