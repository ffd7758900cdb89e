"""``python -m tests.cinder test|tempest|load|stay``: start a cloud, use it, end it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cinder.cloud import VARIABLE, Cloud
from tests.cinder.environments import PROJECT, Environments
from tests.cinder.infrastructure import RABBIT, SYSTEM_PATH
from tests.cinder.running import running
from tests.cinder.workplace import Workplace

ENVIRONMENTS = "VHDX_CINDER_ENVIRONMENTS"
"""Names the directory for the environments, if it is not to be in .nox."""

_SECONDS = 7200.0
_SERVERS = ("mariadbd", "mariadb-install-db", "epmd", RABBIT, "memcached", "redis-server", "smbd")
_PROGRAMS = (*_SERVERS, "pdbedit", "qemu-img")


def main() -> int:
    """The exit status of what was run; 2 where nothing could be."""
    verb, *arguments = sys.argv[1:] or ["stay"]
    runs = {"test": _test, "tempest": _tempest, "load": _load, "stay": _stay}
    if verb not in runs:
        print(f"usage: python -m tests.cinder {'|'.join(runs)}", file=sys.stderr)
        return 2
    if reason := _unable():
        print(f"no Cinder here: {reason}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    environments = Environments(Path(os.environ.get(ENVIRONMENTS, PROJECT / ".nox" / "cinder-environments")))
    environments.provide()
    with running(environments, _SECONDS) as (cloud, place):
        description = place.etc / "cloud.json"
        cloud.save(description)
        failed = runs[verb](arguments, environments, place, description)
    if failed:
        print(f"logs: {place.logs}")
    else:
        shutil.rmtree(place.home)
    return failed


def _unable() -> str | None:
    """Why no Cinder can run here, or None."""
    if os.geteuid() != 0:
        return "its services need root"
    absent = [program for program in _PROGRAMS if shutil.which(program, path=SYSTEM_PATH) is None]
    return f"{', '.join(absent)} not found" if absent else None


def _test(arguments: Sequence[str], environments: Environments, _: Workplace, description: Path) -> int:
    command = [environments.cinder / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    where = [] if any("tests/" in argument for argument in arguments) else ["tests/cinder"]
    settings = {**os.environ, "PATH": SYSTEM_PATH, VARIABLE: str(description)}
    return subprocess.run([*command, *arguments, *where], cwd=PROJECT, env=settings, check=False).returncode


def _tempest(arguments: Sequence[str], environments: Environments, place: Workplace, description: Path) -> int:
    from tests.cinder.tempest_run import TempestRun

    return TempestRun(Cloud.load(description), environments, place).run(arguments)


def _load(arguments: Sequence[str], _: Environments, __: Workplace, description: Path) -> int:
    from tests.cinder import load

    return load.run(arguments, Cloud.load(description))


def _stay(_: Sequence[str], __: Environments, ___: Workplace, description: Path) -> int:
    print(f"until a line or the end of the input: {VARIABLE}={description}", flush=True)
    sys.stdin.readline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
