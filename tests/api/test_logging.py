"""What the package logs: lines at DEBUG under its own names, none with a secret, none unless asked for."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.relay import Relay
from tests.support.smbd import Smbd
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool
from vhdx.verbs.engine import NativeEngine

MIB = 1 << 20


def merge(files: LocalFileSystem | SmbFileSystem) -> None:
    engine = NativeEngine()
    engine.create(files, "base.vhdx", 8 * MIB)
    engine.create_child(files, "top.vhdx", "base.vhdx")
    with engine.open_chain(files, "top.vhdx", writable=1) as chain:
        chain.write(0, b"x" * 4096)
    engine.merge(files, "top.vhdx", "base.vhdx", remove=True)
    files.list("")


def test_a_merge_tells_what_it_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    merge(LocalFileSystem(tmp_path))
    ours = [record for record in caplog.records if record.name.startswith("vhdx.")]
    assert {record.levelno for record in ours} == {logging.DEBUG}
    told = "\n".join(record.getMessage() for record in ours)
    for words in ("opened for writing as vhdx", "a chain of 2 layers", "committing", "merging 1 files", "merged"):
        assert words in told
    # Where a line comes from is the module that has something to say.
    assert "logs.py" not in {record.filename for record in ours}


def test_nothing_is_told_unless_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    merge(LocalFileSystem(tmp_path))
    assert [record for record in caplog.records if record.name.startswith("vhdx")] == []


def test_what_needs_no_log_does_not_load_it() -> None:
    code = "import sys, vhdx.image.open, vhdx.chain.chain, vhdx.image.vhdx.open; print('logging' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


@pytest.mark.smb
def test_no_secret_is_logged(smbd: Smbd, smb_files: SmbFileSystem, caplog: pytest.LogCaptureFixture) -> None:
    """Not on the way to a session, in it, after its loss, nor when the log-on is refused."""
    caplog.set_level(logging.DEBUG)
    share = smb_files.name.rpartition("/")[2]
    with Relay(smbd.port) as relay, SmbPool() as pool:
        account = Credentials(smbd.user, smbd.password)
        files = pool.share("127.0.0.1", share, port=relay.port, credentials=account)
        merge(files)
        for end in list(relay._ends):
            end.hang_up()
        with pytest.raises(ConnectionError):
            while True:
                files.list("")
                relay._ends[-1].hang_up()
        assert files.list("") == ["base.vhdx"]
        with pytest.raises(PermissionError):
            pool.share("127.0.0.1", share, port=relay.port, credentials=Credentials(smbd.user, "wrong-secret-word"))
    told = "\n".join(f"{record.getMessage()} {record.args!r}" for record in caplog.records)
    assert "connected as" in told
    assert "connection lost, reconnecting" in told
    for secret in (smbd.password, "wrong-secret-word"):
        assert secret not in told
