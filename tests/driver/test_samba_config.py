"""Samba configuration files: read as Samba reads them, and only for what clients do."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smbfs_driver.shares.samba_config import NOTHING_SAID, ClientDefaults, Encryption, load
from tests.support.choice import examples
from vhdx.errors import Error
from vhdx.storage.dialect import Dialect


def read(directory: Path, text: str) -> ClientDefaults:
    path = directory / "smb.conf"
    path.write_text(text)
    return load(path)


def test_a_file_is_read(tmp_path: Path) -> None:
    text = """
        # who
        ; and what
        [Global]
          Work Group = EXAM\\
            PLE
          realm=example.org
          client signing = mandatory
          CLIENTSMBENCRYPT = Desired
          client use kerberos = required
          client min protocol = smb3_00
          client max protocol = SMB3_02
          server role = standalone server
        [share]
          workgroup = ANOTHER
          not even a setting
    """
    assert read(tmp_path, text) == ClientDefaults(
        source=str(tmp_path / "smb.conf"),
        domain="EXAMPLE",
        realm="EXAMPLE.ORG",
        must_sign=True,
        encryption=Encryption.DESIRED,
        kerberos=True,
        minimum=Dialect.SMB_3_0,
        maximum=Dialect.SMB_3_0_2,
    )


def test_a_file_without_anything_for_clients_says_nothing(tmp_path: Path) -> None:
    for text in ("", "[global]\n", "log level = 1\n[homes]\nrealm = X\n"):
        found = read(tmp_path, text)
        assert found == ClientDefaults(source=found.source)
    assert ClientDefaults() == NOTHING_SAID


def test_the_last_of_several_values_counts(tmp_path: Path) -> None:
    assert read(tmp_path, "workgroup = A\n[global]\nworkgroup = B\n[x]\n[global]\nworkgroup = C").domain == "C"


BOUNDS = {
    "": (Dialect.SMB_3_0, Dialect.SMB_3_1_1),
    "client min protocol = default\nclient max protocol = default": (Dialect.SMB_3_0, Dialect.SMB_3_1_1),
    "client min protocol = SMB2_02": (Dialect.SMB_2_0_2, Dialect.SMB_3_1_1),
    "client min protocol = SMB2": (Dialect.SMB_2_1, Dialect.SMB_3_1_1),
    "client min protocol = SMB3": (Dialect.SMB_3_1_1, Dialect.SMB_3_1_1),
    "client min protocol = NT1": (Dialect.SMB_3_0, Dialect.SMB_3_1_1),
    "client max protocol = SMB3": (Dialect.SMB_3_0, Dialect.SMB_3_1_1),
    "client max protocol = SMB3_00": (Dialect.SMB_3_0, Dialect.SMB_3_0),
    "client max protocol = SMB2_10": (Dialect.SMB_2_1, Dialect.SMB_2_1),
    "client max protocol = SMB2_10\nclient min protocol = SMB2_02": (Dialect.SMB_2_0_2, Dialect.SMB_2_1),
    "client max protocol = SMB2_10\nclient min protocol = LANMAN1": (Dialect.SMB_2_1, Dialect.SMB_2_1),
}


@pytest.mark.parametrize("text", BOUNDS)
def test_bounds(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert (found.minimum, found.maximum) == BOUNDS[text]


WARNED = {
    "client signing = off": "client signing cannot be disabled",
    "include = /etc/samba/more.conf": "/etc/samba/more.conf: other files are not included",
    "config file = /etc/samba/%m.conf": "%m.conf: other files are not included",
    "client min protocol = NT1": "SMB 1 is not supported",
}


@pytest.mark.parametrize("line", WARNED)
def test_what_is_not_followed_is_warned_of(tmp_path: Path, line: str) -> None:
    (warning,) = read(tmp_path, f"[global]\n{line}").warnings
    assert warning.startswith(f"{tmp_path / 'smb.conf'}, line 2: ")
    assert WARNED[line] in warning


REFUSED = {
    "client max protocol = NT1": "SMB 1 is insecure and not supported",
    "client max protocol = SMB4": "'SMB4': must be one of default, SMB2, SMB2_02",
    "client smb encrypt = maybe": "'maybe': must be one of no,",
    "client signing = sometimes": "'sometimes': must be one of no,",
    "client use kerberos = 1": "'1': must be one of no,",
    "client max protocol = SMB2\nclient min protocol = SMB3": "newer than client max protocol",
    "[share": "section name without closing",
    "workgroup": r"expected \[section\] or key = value",
    "= x": r"expected \[section\] or key = value",
}


@pytest.mark.parametrize("text", REFUSED)
def test_nonsense_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(Error, match=REFUSED[text]) as caught:
        read(tmp_path, f"[global]\n# \\\nrealm = A\\\n\\\nB\n{text}\n")
    line = 6 + text.count("\n")
    assert f"{tmp_path / 'smb.conf'}, line {line}: " in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"smb\.conf"):
        load(tmp_path / "smb.conf")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "smb.conf").write_bytes(b"workgroup = \xff")
    with pytest.raises(Error, match="byte 12"):
        load(tmp_path / "smb.conf")


@given(st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200))
def test_whatever_stands_there_it_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "smb.conf"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert load(path).source == str(path)
    except Error as error:
        assert str(error).startswith(f"{path}, line ")


WORDS = "no false 0 off disabled yes true 1 on enabled auto if_required desired required mandatory forced"


@pytest.mark.parametrize("word", WORDS.split())
def test_words_for_encryption_mean_what_samba_takes_them_for(tmp_path: Path, word: str) -> None:
    testparm = shutil.which("testparm")
    if testparm is None:
        pytest.skip("testparm not found (Debian: apt-get install samba-common-bin)")
    found = read(tmp_path, f"[global]\nclient smb encrypt = {word}\n").encryption
    told = subprocess.run(
        [testparm, "-s", "--parameter-name=client smb encrypt", str(tmp_path / "smb.conf")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert found is {"desired": Encryption.DESIRED, "required": Encryption.REQUIRED}.get(told, Encryption.OFF)
