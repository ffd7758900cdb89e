"""Locations: what they say, what is refused, and that no password gets into words."""

import os
import posixpath
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.support.smbd import Smbd
from vhdx import Access, Credentials, Error, InUse, LocalFileSystem, SmbFileSystem, SmbPool
from vhdx.location import LocalAddress, ShareAddress, locate, parse, shown, sibling

SECRET = "hunter2secret"

URLS = {
    "smb://server/share/disk.vhdx": ShareAddress("server", "share", "disk.vhdx"),
    "SMB://server/share/a/b/disk.vhdx": ShareAddress("server", "share", "a/b/disk.vhdx"),
    "smb://server:4450/share/disk.vhdx": ShareAddress("server", "share", "disk.vhdx", port=4450),
    "smb://ann@server/share/disk.vhdx": ShareAddress("server", "share", "disk.vhdx", user="ann"),
    "smb://HOME;ann@server/share/d": ShareAddress("server", "share", "d", user="ann", domain="HOME"),
    "smb://ann%40home@server/share/d": ShareAddress("server", "share", "d", user="ann@home"),
    "smb://[::1]:4450/share/d": ShareAddress("::1", "share", "d", port=4450),
    "smb://server/my%20share/100%25%20%23%3F.vhdx": ShareAddress("server", "my share", "100% #?.vhdx"),
    "smb://server/share/a@b:c.vhdx": ShareAddress("server", "share", "a@b:c.vhdx"),
    "smb://server/Disks%24/gr%C3%BC%C3%9Fe.vhdx": ShareAddress("server", "Disks$", "grüße.vhdx"),
    r"\\server\share\dir\disk.vhdx": ShareAddress("server", "share", "dir/disk.vhdx"),
    r"\\server\share\50%20.vhdx": ShareAddress("server", "share", "50%20.vhdx"),
    r"\\server\share/dir/disk.vhdx": ShareAddress("server", "share", "dir/disk.vhdx"),
    "//server/share/dir/disk.vhdx": ShareAddress("server", "share", "dir/disk.vhdx"),
    "//HOME;ann@server:4450/my share/50%20 #?.vhdx": ShareAddress(
        "server", "my share", "50%20 #?.vhdx", port=4450, user="ann", domain="HOME"
    ),
}


@pytest.mark.parametrize("text", URLS)
def test_what_a_share_location_says(text: str) -> None:
    assert parse(text) == URLS[text]


names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=20)


@given(st.lists(names, min_size=1, max_size=4), names, st.integers(1, 65535))
def test_a_share_address_reads_back_from_its_text(path: list[str], share: str, port: int) -> None:
    address = ShareAddress("server", share, "/".join(path), port=port)
    assert parse(address.text(address.path)) == address


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "": "empty",
        "http://server/share/d": "http:// is not a supported scheme",
        "file:///srv/disk.vhdx": "file:// is not a supported scheme",
        "smb:/server/share/d": "two slashes",
        "smb://": "invalid SMB URL",
        "smb:///share/d": "invalid SMB URL",
        "smb://server": "has no share",
        "smb://server/": "has no share",
        "smb://server/share": "has no file path",
        "smb://server/share/": "has no file path",
        "smb://server/share/dir/": "is a directory",
        "smb://server:0/share/d": "invalid port 0",
        "smb://server:70000/share/d": "invalid port 70000",
        "smb://server:x/share/d": "invalid SMB URL",
        "smb://[::1/share/d": "invalid SMB URL",
        "smb://server/share/a?b": "%3F",
        "smb://server/share/a#b": "%23",
        "smb://server/share/100%": "%25",
        "smb://server/share/%ff": "UTF-8",
        "smb://server/share/a%2Fb": "cannot contain a /",
        "smb://server/share/a\nb": "invalid SMB URL",
        "smb://server/sh%": "%25",
        "//": "has no share",
        "//server": "has no share",
        "//tmp/disk.vhdx": "a single slash for a local path",
        "//server/share/": "has no file path",
        f"//ann:{SECRET}@server": "has no share",
        f"//ann:{SECRET}@server/share/d": "password",
        "\\\\": "no valid server name",
        "\\\\server": "has no share",
        "\\\\server\\share": "has no file path",
        "\\\\server\\share\\": "has no file path",
        "\\\\?\\C:\\disk.vhdx": "device path",
        "\\\\.\\PhysicalDrive0": "device path",
        "\\\\ann:x@server\\share\\d": "no valid server name",
        "a\0b": "NUL",
    }.items(),
)
def test_what_is_no_location(text: str, words: str) -> None:
    with pytest.raises(Error, match=words):
        parse(text)


@given(st.one_of(st.text(), st.text().map("smb://{}".format), st.text().map("\\\\\\\\{}".format)))
def test_any_text_is_a_location_or_an_error(text: str) -> None:
    try:
        address = parse(text)
    except Error:
        return
    assert parse(address.text(address.path)).path == address.path


@pytest.mark.parametrize(
    "text",
    [
        f"smb://ann:{SECRET}@server/share/d",
        f"smb://ann:{SECRET}@server:445/share/d",
        f"smb://HOME;ann:{SECRET}@server/share/d",
        f"smb://ann:{SECRET}",
        f"smb://ann:{SECRET}@",
        f"smb://ann:pass@{SECRET}@server/share/d",
        f"smb://ann:pass/{SECRET}@server/share/d",
        f"smb://ann:1234/{SECRET}@server/share/d",
        f"smb://ann:pass:{SECRET}@server/share/d",
        f"smb://ann:%41{SECRET}@server/share/d",
        f"smb://:{SECRET}@server/share/d",
        f"smb:/ann:{SECRET}@server/share/d",
        f"smb:ann:{SECRET}@server/share/d",
        f"\\\\ann:{SECRET}@server\\share\\d",
        f"http://ann:{SECRET}@server/share/d",
    ],
)
def test_a_password_in_a_location_is_refused_and_not_repeated(text: str) -> None:
    other = Credentials("ann", "other")
    for attempt in (
        lambda: parse(text),
        lambda: shown(text),
        lambda: sibling("disk.vhdx", text),
        lambda: vhdx.open(text, auth=other),
        lambda: vhdx.create(text, 1 << 20, auth=other),
        lambda: vhdx.create(text),
        lambda: vhdx.create("child.vhdx", parent=text),
    ):
        with pytest.raises(Error) as caught:
            attempt()
        told: BaseException | None = caught.value
        while told is not None:
            assert SECRET not in str(told) + repr(told)
            told = told.__cause__ or told.__context__


def test_local_paths_are_absolute_and_keep_their_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse("disk.vhdx") == LocalAddress(str(tmp_path / "disk.vhdx"))
    assert parse(Path("a", "disk.vhdx")) == LocalAddress(str(tmp_path / "a" / "disk.vhdx"))
    assert parse("./smb://x") == LocalAddress(str(tmp_path / "smb:" / "x"))
    deep = tmp_path / "real" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "link").symlink_to(deep)
    assert parse("link/disk.vhdx") == LocalAddress(str(tmp_path / "link" / "disk.vhdx"))
    # Through the link, .. is the directory of what it points to.
    assert parse("link/../disk.vhdx") == LocalAddress(str(tmp_path / "real" / "disk.vhdx"))


def test_bytes_are_no_location() -> None:
    with pytest.raises(TypeError, match="str"):
        parse(os.fsencode("disk.vhdx"))  # type: ignore[arg-type]


def test_a_local_place_knows_the_space_where_the_file_is(tmp_path: Path) -> None:
    with locate(tmp_path / "disk.vhdx") as place:
        assert isinstance(place.files, LocalFileSystem)
        assert place.files.space().total == LocalFileSystem(str(tmp_path)).space().total
        assert place.files.describe(place.path) == str(tmp_path / "disk.vhdx")


def test_credentials_are_for_shares(tmp_path: Path) -> None:
    with pytest.raises(Error, match="a local file requires no credentials") as caught:
        locate(tmp_path / "disk.vhdx", auth=Credentials("ann", SECRET))
    assert SECRET not in str(caught.value)
    with pytest.raises(Error, match=r"smb://server/share/disk.vhdx: a share requires credentials"):
        locate("smb://ann@server/share/disk.vhdx")


@pytest.mark.parametrize("user", ["bob", "OTHER;ann"])
def test_a_url_that_asks_for_another_account(user: str) -> None:
    with pytest.raises(Error, match="differs from that of the credentials") as caught:
        locate(f"smb://{user}@server/share/disk.vhdx", auth=Credentials("ann", SECRET, "HOME"))
    assert SECRET not in str(caught.value)


def test_siblings() -> None:
    assert sibling("smb://Server/Share/a/x.vhdx", r"\\server\share\a\y.vhdx") == "a/y.vhdx"
    assert sibling("/srv/x.vhdx", "/srv/y.vhdx") == "/srv/y.vhdx"
    for first, second in (
        ("/srv/x.vhdx", "/var/y.vhdx"),
        ("/srv/x.vhdx", "smb://server/srv/y.vhdx"),
        ("smb://server/a/x.vhdx", "smb://server/b/x.vhdx"),
        ("smb://server/a/x.vhdx", "smb://server:446/a/y.vhdx"),
        ("smb://server/a/x.vhdx", "smb://server/a/b/y.vhdx"),
    ):
        with pytest.raises(Error, match="must be in the same directory"):
            sibling(first, second)


def test_without_smbprotocol_a_share_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['smbprotocol'] = None; import vhdx\n"
        "vhdx.open('smb://server/share/d', auth=vhdx.Credentials('ann', 'x'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1].endswith("install the extra vhdx[smb]")


def test_local_disks_load_no_network() -> None:
    code = "import sys, vhdx; vhdx.open, vhdx.Disk, vhdx.DiskFile; print('smbprotocol' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def url(smbd: Smbd, smb_files: SmbFileSystem) -> str:
    """The URL of an empty share that the server already serves."""
    return smb_files.describe("").rstrip("/")


@pytest.fixture
def auth(smbd: Smbd) -> Credentials:
    return Credentials(smbd.user, smbd.password)


@pytest.mark.smb
def test_a_disk_on_a_share(url: str, auth: Credentials, share_directory: Path) -> None:
    (share_directory / "dir").mkdir()
    vhdx.create(f"{url}/dir/base%20%25.vhdx", 8 << 20, auth=auth)
    vhdx.create(f"{url}/dir/leaf.vhdx", parent=f"{url}/dir/base%20%25.vhdx", auth=auth)
    user = url.replace("smb://", f"smb://{auth.username}@")
    with vhdx.open(f"{user}/dir/leaf.vhdx", writable=True, auth=auth) as disk:
        disk.write(1000, b"over the wire")
        assert disk.layers == (f"{url}/dir/leaf.vhdx", f"{url}/dir/base%20%25.vhdx")
        assert disk.name == disk.file().name == f"{url}/dir/leaf.vhdx"
        assert auth.password not in repr(disk) + repr(disk._place)
        pool = disk._place.pool
        assert pool is not None
        assert [connection.alive for connection in pool._connections.values()] == [True]
    # Connections that were made for the disk end with it.
    assert not pool._connections
    with vhdx.open(disk.layers[0], auth=auth) as disk:
        assert disk.read(998, 17) == b"\0\0over the wire\0\0"
    with vhdx.open(disk.layers[1], auth=auth) as disk:
        assert disk.read(998, 17) == bytes(17)
    assert sorted(path.name for path in (share_directory / "dir").iterdir()) == ["base %.vhdx", "leaf.vhdx"]


@pytest.mark.smb
def test_a_pool_that_is_brought_along_stays(url: str, auth: Credentials) -> None:
    with SmbPool() as pool:
        vhdx.create(f"{url}/a.vhdx", 1 << 20, auth=auth, pool=pool)
        with vhdx.open(f"{url}/a.vhdx", auth=auth, pool=pool) as disk:
            assert disk.read(0, 4) == bytes(4)
        with pytest.raises(FileNotFoundError):
            vhdx.open(f"{url}/b.vhdx", auth=auth, pool=pool)
        assert [connection.alive for connection in pool._connections.values()] == [True]


@pytest.mark.smb
def test_what_goes_wrong_on_a_share(
    url: str, auth: Credentials, share_directory: Path, smb_files: SmbFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SmbPool] = []

    class Watched(SmbPool):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr("vhdx.storage.smb.SmbPool", Watched)
    (share_directory / "dir").mkdir()
    vhdx.create(f"{url}/held.vhdx", 1 << 20, auth=auth)
    holder = smb_files.open("held.vhdx", Access.WRITE)
    wrong = Credentials(auth.username, auth.password + "x")
    cases: list[tuple[type[BaseException], str, Credentials]] = [
        (FileNotFoundError, f"{url}/none.vhdx", auth),
        (FileNotFoundError, f"{url}/none/none.vhdx", auth),
        (FileNotFoundError, f"{posixpath.dirname(url)}/no-such-share/d.vhdx", auth),
        (PermissionError, f"{url}/held.vhdx", wrong),
        (InUse, f"{url}/held.vhdx", auth),
        (Error, f"{url}/../held.vhdx", auth),
        (Error, f"{url}/a//b.vhdx", auth),
        (Error, f"{url}/dir", auth),
    ]
    for kind, location, account in cases:
        with pytest.raises(kind) as caught:
            vhdx.open(location, auth=account)
        assert account.password not in str(caught.value) + repr(caught.value), location
    holder.close()
    assert len(made) == 1 + len(cases)
    assert not [pool for pool in made if pool._connections or not pool._closed]
