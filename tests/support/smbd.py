"""A private Samba on a loopback port, run as the current user, in a directory of its own, ended by its own pid.

The password reaches Samba over standard input; it is in no argument and no file that others can read.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_DIRECTORIES = ["/usr/sbin", "/usr/local/sbin", "/usr/local/samba/sbin", "/usr/bin"]
_START_SECONDS = 20.0

_GLOBAL = """\
[global]
server role = standalone server
security = user
disable netbios = yes
smb ports = {port}
interfaces = 127.0.0.1/8
bind interfaces only = yes
private dir = {home}/private
lock directory = {home}/lock
state directory = {home}/state
cache directory = {home}/cache
pid directory = {home}/pid
ncalrpc dir = {home}/ncalrpc
log file = {home}/log/%m.log
max log size = 1000
passdb backend = tdbsam:{home}/private/passdb.tdb
map to guest = never
load printers = no
printcap name = /dev/null
disable spoolss = yes
server min protocol = SMB3_00
{extra}
"""

_SHARE = """\
[{name}]
path = {path}
read only = no
{extra}
"""


def find(program: str) -> str | None:
    """A program of Samba's; Debian keeps some where an ordinary PATH does not look."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_DIRECTORIES])
    return shutil.which(program, path=path)


def unavailable() -> str | None:
    """Why there is no Samba to start here, or None."""
    if os.environ.get("VHDX_NO_SAMBA"):
        return "VHDX_NO_SAMBA says to do without Samba"
    absent = [program for program in ("smbd", "pdbedit") if find(program) is None]
    return f"{' and '.join(absent)} not found (Debian: apt-get install samba)" if absent else None


class Smbd:
    """A running server. Use it in a ``with``; leaving that ends it and removes all that was its own."""

    def __init__(self, *, extra: str = "", environment: Mapping[str, str] | None = None) -> None:
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.password = secrets.token_hex(16)
        self.host = "127.0.0.1"
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="smbd-"))
        self.extra = extra
        self._environment = {**os.environ, **(environment or {})}
        self._shares: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "log"):
            (self.home / name).mkdir(mode=0o700)

    def add_share(self, name: str, path: Path, extra: str = "", *, wait: bool = True) -> None:
        """Serve a directory; a running server takes it up soon, and without *wait* the caller sees to it when."""
        self._shares[name] = _SHARE.format(name=name, path=path, extra=extra)
        self._write_configuration()
        if self._process is not None:
            # The process of a connection that is there already hears of it a little later than the first one.
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGHUP)
            if wait:
                time.sleep(0.1)

    def withdraw_share(self, name: str) -> None:
        """Serve it no more, from the next `restart` on."""
        del self._shares[name]
        self._write_configuration()

    def close_share(self, name: str) -> None:
        """Have every connection of a client to this share ended, as an administrator may."""
        smbcontrol = find("smbcontrol")
        assert smbcontrol is not None
        subprocess.run(
            [smbcontrol, "-s", str(self.home / "smb.conf"), "smbd", "close-share", name],
            check=True,
            capture_output=True,
        )

    def configure(self, extra: str) -> None:
        """Start again with these lines in the global section."""
        self.extra = extra
        self.kill()
        self._write_configuration()
        self.restart()

    def _write_configuration(self) -> None:
        text = _GLOBAL.format(port=self.port, home=self.home, extra=self.extra) + "".join(self._shares.values())
        (self.home / "smb.conf").write_text(text)

    def start(self) -> None:
        """Start, and wait until connections are taken. Raises RuntimeError with Samba's own words."""
        self._write_configuration()
        self._add_user()
        self._run()

    def _add_user(self) -> None:
        pdbedit = find("pdbedit")
        assert pdbedit is not None
        done = subprocess.run(
            [pdbedit, "-s", str(self.home / "smb.conf"), "-a", "-t", "-u", self.user],
            input=f"{self.password}\n{self.password}\n".encode(),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"pdbedit failed: {done.stderr.decode(errors='replace').strip()}")

    def _run(self) -> None:
        smbd = find("smbd")
        assert smbd is not None
        output = self.home / "log" / "output"
        with output.open("wb") as log:
            self._process = subprocess.Popen(
                [smbd, "-F", "--no-process-group", "-s", str(self.home / "smb.conf"), "-l", str(self.home / "log")],
                # When whoever started it dies, its input ends, and Samba ends with that.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = output.read_text(errors="replace").strip()
                self.stop()
                raise RuntimeError(f"smbd did not start: {words}")
            time.sleep(0.02)

    def _accepts(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def pids(self) -> list[int]:
        """The server's processes, the first one first."""
        if self._process is None or self._process.poll() is not None:
            return []
        found = [self._process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found.extend(int(child) for child in (task / "children").read_text().split())
        return found

    def freeze(self) -> None:
        """Stop every process in its tracks, as a server that hangs."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server without a chance to tidy up; nothing of it listens any more."""
        if self._process is not None:
            # All at once: a process that is made meanwhile would be missed one by one, and keep the port.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._wait()
        while self._accepts():
            time.sleep(0.02)

    def restart(self) -> None:
        """Start again after `kill`, on the same port with the same shares."""
        self._run()

    def stop(self) -> None:
        """End the server."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        self._wait()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait(self) -> None:
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            if self._process.poll() is None:
                self._signal(signal.SIGKILL)
                self._process.wait(10)
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.home, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
