"""A transport is a module and a line in the registry: no verb, command or method of a disk is told of it."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

import vhdx
from tests.support.http_files import HTTP, HttpAddress
from vhdx.cli import img, inspect
from vhdx.location import parse, registry, sibling

MIB = 1 << 20


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The URL of a directory, with the transport registered, and the directory."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET(body=False)

        def do_GET(self, *, body: bool = True) -> None:
            path = tmp_path / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            data = data[int(wanted[1]) : int(wanted[2]) + 1] if wanted else data
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is said."""

    monkeypatch.setattr(registry, "TRANSPORTS", (*registry.TRANSPORTS, HTTP))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", tmp_path
        server.shutdown()
        thread.join()


def test_a_disk_is_read_through_it_with_its_parents(served: tuple[str, Path]) -> None:
    url, here = served
    vhdx.create(here / "base.vhdx", 8 * MIB)
    with vhdx.open(here / "base.vhdx", writable=True) as disk:
        disk.write(5 * MIB, b"below")
    vhdx.create(here / "leaf.vhdx", parent=here / "base.vhdx")
    with vhdx.open(here / "leaf.vhdx", writable=True) as disk:
        disk.write(0, b"above")
    with vhdx.open(f"{url}/leaf.vhdx") as disk:
        assert (disk.read(0, 5), disk.read(5 * MIB, 5)) == (b"above", b"below")
    with pytest.raises(vhdx.ReadOnly):
        vhdx.open(f"{url}/leaf.vhdx", writable=True)
    with pytest.raises(FileNotFoundError):
        vhdx.open(f"{url}/none.vhdx")
    with pytest.raises(vhdx.Error, match="without an account"):
        vhdx.open(f"{url}/leaf.vhdx", auth=vhdx.Credentials("ann", "secret"))


def test_commands_take_its_locations(served: tuple[str, Path]) -> None:
    url, here = served
    vhdx.create(here / "disk.vhdx", 8 * MIB)
    shown = CliRunner().invoke(inspect.program, ["info", f"{url}/disk.vhdx"])
    assert shown.exit_code == 0, shown.output
    assert f"{url}/disk.vhdx" in shown.output
    done = CliRunner().invoke(img.program, ["convert", f"{url}/disk.vhdx", str(here / "copy.vhd")])
    assert done.exit_code == 0, done.output
    assert (here / "copy.vhd").exists()


def test_locations_are_told_apart(served: tuple[str, Path]) -> None:
    url, _ = served
    assert isinstance(parse(f"{url}/a/b.vhdx"), HttpAddress)
    assert sibling(f"{url}/a/b.vhdx", f"{url}/a/c.vhdx") == "a/c.vhdx"
    with pytest.raises(vhdx.Error, match="must be in the same directory"):
        sibling(f"{url}/a/b.vhdx", "smb://server/share/a/c.vhdx")
    with pytest.raises(vhdx.Error, match=r"ftp:// is not a supported scheme; give a path or smb://.* or http://server"):
        parse("ftp://server/a")
