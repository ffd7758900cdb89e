"""After every failure no thread of ours is left, and no connection: on shares, wherever the opening fails."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import vhdx
from tests.conftest import connect
from tests.support.disks import MIB, pattern
from tests.support.smbd import Smbd
from vhdx import CreateOptions, Credentials, ImageFormat, LocalFileSystem, NativeEngine, SmbPool
from vhdx.location import locate


@contextmanager
def nothing_left() -> Iterator[None]:
    """What runs inside leaves the threads as they were."""
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert not left, f"left: {left}"


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A server of something else: it says *answer* and hangs up; None: it hangs up at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                if answer is not None:
                    client.recv(1 << 16)
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x40" + b"\xfeSMB" + bytes(60), b"\0\xff\xff\xff"],
    ids=["nothing", "silence", "http", "empty SMB", "length"],
)
def test_another_server(answer: bytes | None) -> None:
    with answering(answer) as port, nothing_left(), pytest.raises((OSError, vhdx.Error)):
        vhdx.open(f"smb://127.0.0.1:{port}/share/a.vhdx", auth=Credentials("user", "secret"))


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with nothing_left(), pytest.raises(OSError, match="refused"):
        vhdx.open(f"smb://127.0.0.1:{port}/share/a.vhdx", auth=Credentials("user", "secret"))


@pytest.fixture
def share(smbd: Smbd, smb_pool: SmbPool, tmp_path: Path) -> str:
    """The location of a share with images that do not open."""
    files, engine = LocalFileSystem(tmp_path), NativeEngine()
    engine.create(files, "a.vhdx", 32 * MIB, CreateOptions(block_size=MIB))
    with engine.open_chain(files, "a.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 32 * MIB))
    engine.create(files, "base.vhd", 4 * MIB, CreateOptions(format=ImageFormat.VHD))
    engine.create_child(files, "orphan.vhd", "base.vhd")
    engine.create_child(files, "grandchild.vhd", "orphan.vhd")
    files.remove("base.vhd")
    (tmp_path / "rubbish").write_bytes(pattern(2, MIB))
    (tmp_path / "damaged.vhdx").write_bytes((tmp_path / "a.vhdx").read_bytes()[: 3 * MIB])
    name = connect(smbd, smb_pool, tmp_path).name.rpartition("/")[2]
    return f"smb://127.0.0.1:{smbd.port}/{name}"


@pytest.mark.smb
def test_a_log_on_or_an_opening_that_fails(smbd: Smbd, share: str) -> None:
    right = Credentials(smbd.user, smbd.password)
    opened: list[tuple[str, Credentials]] = [
        (f"{share}/a.vhdx", Credentials(smbd.user, "wrong")),
        (f"{share}/a.vhdx", Credentials("nobody-at-all", "wrong")),
        (f"smb://127.0.0.1:{smbd.port}/no-such-share/a.vhdx", right),
        *((f"{share}/{name}", right) for name in ("nowhere.vhdx", "no/where.vhdx", "rubbish", "orphan.vhd")),
        *((f"{share}/{name}", right) for name in ("grandchild.vhd", "damaged.vhdx", "a|b")),
    ]
    for location, account in opened:
        with nothing_left(), pytest.raises((OSError, vhdx.Error)):
            vhdx.open(location, auth=account, writable=True).write(0, b"x")
    with nothing_left(), vhdx.open(f"{share}/a.vhdx", auth=right), pytest.raises(vhdx.InUse):
        vhdx.open(f"{share}/a.vhdx", auth=right, writable=True)
    for create in (
        lambda: vhdx.create(f"{share}/a.vhdx", MIB, auth=right),
        lambda: vhdx.create(f"{share}/no/where.vhdx", MIB, auth=right),
        lambda: vhdx.create(f"{share}/b.vhdx", 7, auth=right),
        lambda: vhdx.create(f"{share}/b.vhdx", parent=f"{share}/rubbish", auth=right),
    ):
        with nothing_left(), pytest.raises((OSError, vhdx.Error)):
            create()


@pytest.mark.smb
def test_a_verb_that_is_cancelled(smbd: Smbd, share: str, tmp_path: Path) -> None:
    right = Credentials(smbd.user, smbd.password)

    def stop(done: int, total: int) -> None:
        raise vhdx.Cancelled("enough")

    verbs: list[Callable[[vhdx.NativeEngine, vhdx.SmbFileSystem], object]] = [
        lambda engine, files: engine.convert(files, "a.vhdx", files, "b.vhdx", on_progress=stop),
        lambda engine, files: engine.compact(files, "a.vhdx", on_progress=stop),
    ]
    for verb in verbs:
        with nothing_left(), locate(f"{share}/a.vhdx", auth=right) as place, pytest.raises(vhdx.Cancelled):
            verb(NativeEngine(), place.files)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.tmp"))
