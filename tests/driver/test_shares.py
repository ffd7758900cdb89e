"""The list of shares: what is accepted, what is refused, and that no password is ever told."""

import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smbfs_driver.connections import ShareConnections
from smbfs_driver.shares import Credentials, Share, load, split_address
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error
from vhdx.storage.base import FileSystem, Space

SECRET = "Tr0ub4dor"
LOG_ON = f"username=cinder,password={SECRET}"
CINDER = Credentials("cinder", SECRET)


def listed(directory: Path, text: str, *, mode: int = 0o600, name: str = "shares") -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_list_is_read(tmp_path: Path) -> None:
    listed(tmp_path, f"# who\nusername=cinder\n\n password = {SECRET},x=#1 \ndomain=EXAMPLE\n", name="log on")
    text = f"""
        # the first one
        //server/share -o {LOG_ON}
        //server/with\\040a\\040space -o {LOG_ON},domain=EXAMPLE,port=1445,seal,sign,vers=3.0,sec=ntlmsspi

        \\\\host.example\\third\\ -o noperm,credentials=log on,uid=1000,file_mode=0660
    """
    first, second, third = load(listed(tmp_path, text))
    assert first == Share("server", "share", CINDER)
    assert second == Share("server", "with a space", Credentials("cinder", SECRET, "EXAMPLE"), 1445, encrypt=True)
    assert second.address == "//server/with a space"
    log_on = Credentials("cinder", f"{SECRET},x=#1", "EXAMPLE")
    assert third == Share("host.example", "third", log_on, ignored=("noperm", "uid", "file_mode"))


def test_other_names_of_options_are_known(tmp_path: Path) -> None:
    (share,) = load(listed(tmp_path, f"//server/share -o user=cinder,pass={SECRET},dom=EXAMPLE"))
    assert share.credentials == Credentials("cinder", SECRET, "EXAMPLE")


REFUSED = {
    "no slashes": ("server/share -o " + LOG_ON, "not of the form"),
    "no share": ("//server -o " + LOG_ON, "not of the form"),
    "a directory": ("//server/share/directory -o " + LOG_ON, "not of the form"),
    "options without -o": ("//server/share " + LOG_ON, "not of the form"),
    "no options": ("//server/share", "a username and a password"),
    "no password": ("//server/share -o username=cinder", "a username and a password"),
    "an unknown option": ("//server/share -o frobnicate=1," + LOG_ON, "the option frobnicate is not known"),
    "an unknown flag": ("//server/share -o ro," + LOG_ON, "the option ro is not known"),
    "a log-on of another kind": (f"//server/share -o cinder%{SECRET}", "one of the options is not known"),
    "a password with a comma": (f"//server/share -o {LOG_ON},{SECRET}", "not shown"),
    "a flag with a value": ("//server/share -o seal=yes," + LOG_ON, "seal takes no value"),
    "an option without its value": ("//server/share -o username,password=x", "username needs a value"),
    "an option twice": (f"//server/share -o {LOG_ON},username=x", "username is there twice"),
    "an old dialect": (f"//server/share -o {LOG_ON},vers=1.0", "vers can only be"),
    "kerberos": (f"//server/share -o {LOG_ON},sec=krb5", "sec can only be"),
    "no port": (f"//server/share -o {LOG_ON},port={SECRET}", "the port is not a number"),
    "port 0": (f"//server/share -o {LOG_ON},port=0", "the port is not a number"),
    "a huge port": (f"//server/share -o {LOG_ON},port=4450000000", "the port is not a number"),
    "two log-ons": (f"//server/share -o credentials=x,password={SECRET}", "exclude each other"),
    "a control character": ("//server/sh\x01are -o " + LOG_ON, "not of the form"),
    "a share twice": (f"//SERVER/Other -o {LOG_ON}", "listed twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_line_is_refused_with_its_number_and_without_a_password(tmp_path: Path, case: str) -> None:
    line, message = REFUSED[case]
    path = listed(tmp_path, f"# {SECRET}\n//server/other -o {LOG_ON}\n{line}\n")
    with pytest.raises(Error, match=message) as caught:
        load(path)
    assert f"{path}, line 3: " in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("text", ["username=x\npassword\n", f"username=x\n{SECRET}\n", "username=x\nusername=y\n"])
def test_a_bad_credentials_file_is_refused_without_a_password(tmp_path: Path, text: str) -> None:
    file = listed(tmp_path, text, name="credentials")
    with pytest.raises(Error) as caught:
        load(listed(tmp_path, "//server/share -o credentials=credentials"))
    assert f"{file}, line 2: " in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_list_with_passwords_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = listed(tmp_path, f"//server/share -o {LOG_ON}", mode=mode, name="my shares")
    with pytest.raises(Error) as caught:
        load(path)
    assert str(caught.value).endswith(f"run: chmod 600 '{path}'")
    assert SECRET not in str(caught.value)


def test_a_list_without_passwords_may_be_read_by_all_but_its_credentials_not(tmp_path: Path) -> None:
    path = listed(tmp_path, "//server/share -o credentials=log_on", mode=0o644)
    file = listed(tmp_path, f"username=cinder\npassword={SECRET}\n", name="log_on")
    assert load(path) == [Share("server", "share", CINDER)]
    file.chmod(0o640)
    with pytest.raises(Error, match=f"run: chmod 600 {file}"):
        load(path)


def test_bytes_that_are_no_text_are_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "shares"
    path.write_bytes(SECRET.encode() + b"\xff")
    path.chmod(0o600)
    with pytest.raises(Error, match="not a text") as caught:
        load(path)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="credentials"):
        load(listed(tmp_path, "//server/share -o credentials=credentials"))


@given(st.text(max_size=80).map(lambda rest: f"//server/share -o username=u,password={SECRET}{rest}"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_whatever_stands_in_a_line_the_password_is_not_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "shares"
    path.write_text(line, encoding="utf-8", errors="replace")
    path.chmod(0o600)
    try:
        shares = load(path)
    except Error as error:
        assert SECRET not in "".join(traceback.format_exception(error))
    else:
        assert SECRET not in repr(shares)


def test_addresses_are_those_of_shares_only() -> None:
    assert split_address("//server/share") == ("server", "share")
    assert split_address("\\\\server\\a\\040b") == ("server", "a b")
    for address in ("", "//", "//server", "//server/", "/server/share", "//server/a/b", "smb://server/share"):
        assert split_address(address) is None


class Server:
    """Connects shares to memory, and counts how often."""

    def __init__(self) -> None:
        self.connected: list[str] = []
        self.down = False

    def __call__(self, share: Share) -> FileSystem:
        if self.down:
            raise ConnectionError("the server does not answer")
        self.connected.append(share.address)
        return MemoryFileSystem(capacity=1000)


def test_a_share_is_connected_once_when_first_used() -> None:
    server, shares = Server(), [Share("server", name, CINDER) for name in ("a", "b")]
    connections = ShareConnections(shares, server)
    assert connections.shares == tuple(shares)
    assert server.connected == []
    assert connections.files(shares[0]) is connections.files(connections.find("\\\\SERVER\\A"))
    assert connections.capacity(shares[1]) == Space(1000, 1000)
    assert server.connected == ["//server/a", "//server/b"]


def test_a_share_that_could_not_be_connected_is_tried_again() -> None:
    server, share = Server(), Share("server", "share", CINDER)
    connections = ShareConnections([share], server)
    server.down = True
    with pytest.raises(ConnectionError):
        connections.files(share)
    server.down = False
    assert connections.files(share)


@pytest.mark.parametrize("address", ["//server/other", "//server", "nonsense"])
def test_a_share_that_is_not_listed_is_refused(address: str) -> None:
    with pytest.raises(Error, match="not in the list"):
        ShareConnections([Share("server", "share", CINDER)], Server()).find(address)
