"""The list of shares: what is accepted, what is refused, and that no password is ever told."""

import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smbfs_driver.shares.connections import ShareConnections
from smbfs_driver.shares.pools import Pools
from smbfs_driver.shares.samba_config import NOTHING_SAID, ClientDefaults, Encryption
from smbfs_driver.shares.shares import Credentials, Share, load
from smbfs_driver.shares.unc import UncName
from tests.support.choice import examples
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error
from vhdx.storage.base import FileSystem, Space
from vhdx.storage.dialect import Dialect

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
    account, only = Credentials("cinder", SECRET, "EXAMPLE", kerberos=False), Dialect.SMB_3_0
    assert second == Share("server", "with a space", account, 1445, encrypt=True, minimum=only, maximum=only)
    assert second.address == "//server/with a space"
    log_on = Credentials("cinder", f"{SECRET},x=#1", "EXAMPLE")
    assert third == Share("host.example", "third", log_on, ignored=("noperm", "uid", "file_mode"))


def only(tmp_path: Path, options: str, defaults: ClientDefaults = NOTHING_SAID) -> Share:
    (share,) = load(listed(tmp_path, f"//server/share -o {options}"), defaults)
    return share


VERSIONS = {
    "3": (Dialect.SMB_3_0, Dialect.SMB_3_1_1),
    "default": (Dialect.SMB_3_0, Dialect.SMB_3_1_1),
    "3.0": (Dialect.SMB_3_0, Dialect.SMB_3_0),
    "3.02": (Dialect.SMB_3_0_2, Dialect.SMB_3_0_2),
    "3.0.2": (Dialect.SMB_3_0_2, Dialect.SMB_3_0_2),
    "3.1.1": (Dialect.SMB_3_1_1, Dialect.SMB_3_1_1),
    "2.0": (Dialect.SMB_2_0_2, Dialect.SMB_2_0_2),
    "2.0.2": (Dialect.SMB_2_0_2, Dialect.SMB_2_0_2),
    "2.1": (Dialect.SMB_2_1, Dialect.SMB_2_1),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_are_those_of_mount(tmp_path: Path, version: str) -> None:
    share = only(tmp_path, f"{LOG_ON},vers={version}")
    assert (share.minimum, share.maximum) == VERSIONS[version]


LOG_ONS = {
    LOG_ON: CINDER,
    f"{LOG_ON},sec=ntlmssp": Credentials("cinder", SECRET, kerberos=False),
    "sec=krb5": Credentials("", "", kerberos=True),
    "sec=krb5i,username=cinder": Credentials("cinder", "", kerberos=True),
    "sec=krb5,username=cinder,domain=EXAMPLE.ORG": Credentials("cinder@EXAMPLE.ORG", "", kerberos=True),
    f"sec=krb5,{LOG_ON}": Credentials("cinder", SECRET, kerberos=True),
    "guest": Credentials("", "", guest=True),
}


@pytest.mark.parametrize("options", LOG_ONS)
def test_who_logs_on_and_how(tmp_path: Path, options: str) -> None:
    assert only(tmp_path, options).credentials == LOG_ONS[options]


def test_only_a_guest_is_warned_of(tmp_path: Path) -> None:
    assert only(tmp_path, LOG_ON).warnings == ()
    (warning,) = only(tmp_path, "guest").warnings
    assert warning.startswith("//server/share: guest log-on")
    (warning,) = only(tmp_path, f"uid=1000,{LOG_ON},noperm").warnings
    assert warning == "//server/share: options without effect: uid, noperm"


SAMBA = ClientDefaults("smb.conf", "WORK", "EXAMPLE.ORG", maximum=Dialect.SMB_3_0_2)


def test_what_the_list_does_not_say_a_samba_file_may(tmp_path: Path) -> None:
    share = only(tmp_path, LOG_ON, replace(SAMBA, kerberos=False))
    assert share.credentials == Credentials("cinder", SECRET, "WORK", kerberos=False)
    assert (share.minimum, share.maximum, share.encrypt) == (Dialect.SMB_3_0, Dialect.SMB_3_0_2, False)
    assert only(tmp_path, "username=cinder", replace(SAMBA, kerberos=True)).credentials == Credentials(
        "cinder@EXAMPLE.ORG", "", kerberos=True
    )
    for encryption in (Encryption.REQUIRED, Encryption.DESIRED):
        assert only(tmp_path, LOG_ON, replace(SAMBA, encryption=encryption)).encrypt
    old = replace(SAMBA, minimum=Dialect.SMB_2_1, maximum=Dialect.SMB_2_1, encryption=Encryption.DESIRED)
    assert not only(tmp_path, LOG_ON, old).encrypt


def test_the_list_goes_before_a_samba_file(tmp_path: Path) -> None:
    share = only(tmp_path, f"{LOG_ON},domain=OWN,sec=ntlmssp,vers=3.1.1", replace(SAMBA, kerberos=True))
    assert share.credentials == Credentials("cinder", SECRET, "OWN", kerberos=False)
    assert (share.minimum, share.maximum) == (Dialect.SMB_3_1_1, Dialect.SMB_3_1_1)
    assert only(tmp_path, f"{LOG_ON},domain=", SAMBA).credentials == CINDER
    assert only(tmp_path, f"username=cinder@OWN,password={SECRET}", SAMBA).credentials.domain == ""
    assert only(tmp_path, "guest", replace(SAMBA, kerberos=True)).credentials.guest


@pytest.mark.parametrize(
    ("options", "defaults"),
    [
        ("guest", replace(SAMBA, encryption=Encryption.REQUIRED)),
        ("guest", replace(SAMBA, must_sign=True)),
        (f"{LOG_ON},vers=2.1", replace(SAMBA, encryption=Encryption.REQUIRED)),
    ],
)
def test_what_list_and_samba_file_make_impossible_is_refused(
    tmp_path: Path, options: str, defaults: ClientDefaults
) -> None:
    with pytest.raises(Error, match=r"line 1: .* in smb\.conf"):
        only(tmp_path, options, defaults)


def test_other_names_of_options_are_known(tmp_path: Path) -> None:
    (share,) = load(listed(tmp_path, f"//server/share -o user=cinder,pass={SECRET},dom=EXAMPLE"))
    assert share.credentials == Credentials("cinder", SECRET, "EXAMPLE")


REFUSED = {
    "no slashes": ("server/share -o " + LOG_ON, "invalid line"),
    "no share": ("//server -o " + LOG_ON, "invalid line"),
    "a directory": ("//server/share/directory -o " + LOG_ON, "invalid line"),
    "options without -o": ("//server/share " + LOG_ON, "invalid line"),
    "no options": ("//server/share", "username and password"),
    "no password": ("//server/share -o username=cinder", "username and password"),
    "an unknown option": ("//server/share -o frobnicate=1," + LOG_ON, "unknown option frobnicate"),
    "an unknown flag": ("//server/share -o ro," + LOG_ON, "unknown option ro"),
    "a log-on of another kind": (f"//server/share -o cinder%{SECRET}", "unknown option"),
    "a password with a comma": (f"//server/share -o {LOG_ON},{SECRET}", "not shown"),
    "a flag with a value": ("//server/share -o seal=yes," + LOG_ON, "seal takes no value"),
    "an option without its value": ("//server/share -o username,password=x", "username requires a value"),
    "an option twice": (f"//server/share -o {LOG_ON},username=x", "duplicate option username"),
    "SMB 1": (f"//server/share -o {LOG_ON},vers=1.0", "SMB 1 is insecure and not supported"),
    "an unknown dialect": (f"//server/share -o {LOG_ON},vers={SECRET}", "invalid vers: must be one of 3, 3.0"),
    "a bare hash": (f"//server/share -o {LOG_ON},sec=ntlmv2", "ntlmssp uses NTLMv2"),
    "nobody": ("//server/share -o sec=none", "use guest"),
    "an unknown kind of log-on": (f"//server/share -o {LOG_ON},sec={SECRET}", "invalid sec: must be one of ntlmssp"),
    "encryption in SMB 2": (f"//server/share -o {LOG_ON},vers=2.1,seal", "but the maximum is SMB 2.1"),
    "a guest with an account": (f"//server/share -o guest,{LOG_ON}", "guest and password are mutually exclusive"),
    "a guest with a domain": ("//server/share -o guest,domain=x", "guest and domain are mutually exclusive"),
    "a guest with a file": ("//server/share -o guest,credentials=x", "guest and credentials are mutually exclusive"),
    "a guest with a ticket": ("//server/share -o guest,sec=krb5", "guest and sec are mutually exclusive"),
    "a guest who signs": ("//server/share -o guest,sign", "exclusive: a guest session has no signing key"),
    "a guest who encrypts": ("//server/share -o guest,seal", "exclusive: a guest session has no encryption"),
    "a ticket of nobody's password": (f"//server/share -o sec=krb5,password={SECRET}", "password without username"),
    "no port": (f"//server/share -o {LOG_ON},port={SECRET}", "invalid port"),
    "port 0": (f"//server/share -o {LOG_ON},port=0", "invalid port"),
    "a huge port": (f"//server/share -o {LOG_ON},port=4450000000", "invalid port"),
    "two log-ons": (f"//server/share -o credentials=x,password={SECRET}", "are mutually exclusive"),
    "a control character": ("//server/sh\x01are -o " + LOG_ON, "invalid line"),
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
    with pytest.raises(Error, match="not valid UTF-8") as caught:
        load(path)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="credentials"):
        load(listed(tmp_path, "//server/share -o credentials=credentials"))


@given(st.text(max_size=80).map(lambda rest: f"//server/share -o username=u,password={SECRET}{rest}"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200))
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


def test_names_of_shares_are_told_from_other_text() -> None:
    assert str(UncName.parse("\\\\server\\a\\040b")) == "//server/a b"
    for text in ("", "//", "//server", "//server/", "/server/share", "//server/a/b", "smb://server/share"):
        assert UncName.parse(text) is None


@pytest.mark.parametrize("same", ["//server/share", "//SERVER/Share/", "\\\\server\\SHARE"])
def test_a_share_is_found_whatever_way_its_name_is_written(same: str) -> None:
    """By the connections and the pools alike, and a list that has it twice is refused."""
    share, other = (Share("Server", name, Credentials("u", "p")) for name in ("Share", "other"))
    pools = Pools([other, share], {same: "fast"})
    assert pools.at(same).share is share
    assert pools.named("fast").share is share
    assert ShareConnections([other, share], lambda _: pytest.fail("nothing is connected")).find(same) is share
    assert UncName.parse(same) in {share.unc}
    for nowhere in ("//server/share2", "//server2/share", "nonsense"):
        with pytest.raises(Error, match="not in the list of shares"):
            pools.at(nowhere)
        with pytest.raises(Error, match=f"{nowhere} not in the list of shares"):
            Pools([other, share], {nowhere: "fast"})


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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("username=u,password=p,domain=d", "username=u,password=p,domain=d"),
        ("guest", "guest"),
        ("sec=krb5", "sec=krb5"),
        ("sec=krb5,username=u@REALM", "sec=krb5,username=u@REALM"),
    ],
)
def test_whoever_mounts_a_share_is_told_how(tmp_path: Path, options: str, told: str) -> None:
    path = tmp_path / "shares"
    path.touch(mode=0o600)
    path.write_text(f"//server/share -o {options}\n")
    (share,) = load(path)
    assert share.mount_options == told
