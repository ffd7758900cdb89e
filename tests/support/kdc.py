"""A private Kerberos realm on a loopback port: MIT's KDC in a directory of its own, ended by its own pid."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.support.smbd import find, free_port

REALM = "VHDX.TEST"
_START_SECONDS = 20.0
_PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist")
_MODULES = ("gssapi", "krb5")

_CLIENT = """\
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
clockskew = 1
[realms]
{realm} = {{
    kdc = 127.0.0.1:{port}
}}
"""

# A Samba that stands alone refuses tickets with the certificate that only members of a domain understand.
_SERVER = """\
[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
{realm} = {{
    database_name = {home}/principal
    key_stash_file = {home}/stash
    acl_file = {home}/acl
    disable_pac = true
}}
[logging]
kdc = FILE:{home}/kdc.log
"""


def unavailable() -> str | None:
    """Why Kerberos cannot be tried here, or None."""
    absent = [program for program in _PROGRAMS if find(program) is None]
    if absent:
        return f"{', '.join(absent)} not found (Debian: apt-get install krb5-kdc krb5-admin-server krb5-user)"
    missing = missing_modules()
    return f"no Python package {' and '.join(missing)} (pip install '.[kerberos]')" if missing else None


def missing_modules() -> list[str]:
    """What the client lacks for Kerberos."""
    return [module for module in _MODULES if importlib.util.find_spec(module) is None]


class Kdc:
    """A running KDC. Use it in a ``with``; leaving that ends it and removes all that was its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="kdc-"))
        self.environment = {
            "KRB5_CONFIG": str(self.home / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.home / "kdc.conf"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the realm, and wait until the KDC takes connections. Raises RuntimeError with its own words."""
        values = {"realm": REALM, "port": self.port, "home": self.home}
        (self.home / "krb5.conf").write_text(_CLIENT.format(**values))
        (self.home / "kdc.conf").write_text(_SERVER.format(**values))
        self._run("kdb5_util", "create", "-r", REALM, "-s", answer=f"{secrets.token_hex(16)}\n" * 2)
        self._process = subprocess.Popen(
            [_path("krb5kdc"), "-n", "-r", REALM, "-P", str(self.home / "pid")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **self.environment},
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self.home / "kdc.log"
                raise RuntimeError(f"krb5kdc did not start: {log.read_text() if log.exists() else 'no log'}")
            time.sleep(0.02)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _run(self, program: str, *arguments: str, answer: str = "") -> None:
        done = subprocess.run(
            [_path(program), *arguments],
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.environment},
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")

    def add_user(self, name: str, password: str) -> None:
        """Let somebody get tickets with a password."""
        self._run("kadmin.local", "-r", REALM, answer=f"addprinc -pw {password} {name}\n")

    def add_service(self, name: str, keytab: Path) -> None:
        """Add a service, and put its key into a file."""
        self._run("kadmin.local", "-r", REALM, answer=f"addprinc -randkey {name}\nktadd -k {keytab} {name}\n")

    def fetch_ticket(self, name: str, password: str, cache: Path, lifetime: str = "1h") -> None:
        """Put a ticket of somebody's into a file."""
        self._run("kinit", "-c", f"FILE:{cache}", "-l", lifetime, name, answer=f"{password}\n")

    def holds_ticket(self, cache: Path) -> bool:
        """Whether a file holds a ticket that has not expired."""
        environment = {**os.environ, **self.environment}
        return not subprocess.run([_path("klist"), "-s", f"FILE:{cache}"], check=False, env=environment).returncode

    def stop(self) -> None:
        """End the KDC."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def _path(program: str) -> str:
    found = find(program)
    assert found is not None
    return found
