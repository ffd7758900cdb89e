"""What a Samba configuration file (smb.conf(5)) says of clients: defaults for the list of shares.

Read from ``[global]``: workgroup, realm, client signing, client smb encrypt, client use kerberos, client min protocol,
client max protocol, with the values that Samba takes; all else is skipped. ``include`` and ``config file`` are not
followed, and signing is never turned off: both are told in `ClientDefaults.warnings`.

Python's configparser knows neither continued lines nor indented keys, and not on which line a value stood.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple, TypeVar

from vhdx.errors import Error
from vhdx.storage.dialect import NEWEST, OLDEST_BY_DEFAULT, Dialect

T = TypeVar("T")


class Encryption(Enum):
    """Whether to encrypt where the list of shares says nothing."""

    OFF = "off"
    DESIRED = "desired"
    REQUIRED = "required"


class SigningWord(Enum):
    """What a file says of signatures, which are made in any case."""

    OFF = "off"
    UNSAID = "unsaid"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class ClientDefaults:
    """What holds where the list of shares says nothing. *realm* is for Kerberos names without one.

    With *must_sign* or where encryption is required, no guest may log on.
    """

    source: str = ""
    domain: str = ""
    realm: str = ""
    must_sign: bool = False
    encryption: Encryption = Encryption.OFF
    kerberos: bool | None = None  # a ticket and nothing else; False: none; None: what both sides know
    minimum: Dialect = OLDEST_BY_DEFAULT
    maximum: Dialect = NEWEST
    warnings: tuple[str, ...] = ()


NOTHING_SAID = ClientDefaults()


class _Value(NamedTuple):
    """A value and where it stands: file and line."""

    text: str
    where: str


_OFF = ("no", "false", "0", "off", "disabled")
_MAYBE = ("yes", "true", "1", "on", "enabled", "auto", "if_required", "default")
_MUST = ("required", "mandatory", "force", "forced", "enforced")
_ENCRYPTION = {
    **dict.fromkeys((*_OFF, *_MAYBE), Encryption.OFF),
    "desired": Encryption.DESIRED,
    **dict.fromkeys(_MUST, Encryption.REQUIRED),
}
_SIGNING = {
    **dict.fromkeys(_OFF, SigningWord.OFF),
    **dict.fromkeys((*_MAYBE, "desired"), SigningWord.UNSAID),
    **dict.fromkeys(_MUST, SigningWord.REQUIRED),
}
_KERBEROS: dict[str, bool | None] = {
    **dict.fromkeys(("no", "off", "disabled"), False),
    **dict.fromkeys(("desired", "auto"), None),
    **dict.fromkeys(("required", "yes"), True),
}
_DIALECTS = {
    "smb2": Dialect.SMB_2_1,
    "smb2_02": Dialect.SMB_2_0_2,
    "smb2_10": Dialect.SMB_2_1,
    "smb3": Dialect.SMB_3_1_1,
    "smb3_00": Dialect.SMB_3_0,
    "smb3_02": Dialect.SMB_3_0_2,
    "smb3_11": Dialect.SMB_3_1_1,
}
_SMB_1 = frozenset({"core", "coreplus", "core+", "lanman1", "lanman2", "lanman", "nt1"})
_ELSEWHERE = ("include", "configfile")


def of(name: str | None) -> ClientDefaults:
    """What the file of this name says; nothing where none is named. Raises as `load` does."""
    return load(Path(name)) if name else NOTHING_SAID


def load(path: Path) -> ClientDefaults:
    """What a file says. Raises Error naming file and line, OSError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Error(f"{path}: not a text in UTF-8 (byte {error.start})") from None
    values = _global_values(text, path)
    warnings = [
        f"{values[key].where}: {values[key].text}: other files are not read from here; say here what clients need"
        for key in _ELSEWHERE
        if key in values
    ]
    signing = _chosen(values, "clientsigning", _SIGNING, unset=SigningWord.UNSAID)
    if signing is SigningWord.OFF:
        where = values["clientsigning"].where
        warnings.append(f"{where}: client signing is not turned off: messages are always signed or encrypted")
    minimum, maximum = _bounds(values, warnings)
    return ClientDefaults(
        source=str(path),
        domain=_text(values, "workgroup"),
        realm=_text(values, "realm").upper(),
        must_sign=signing is SigningWord.REQUIRED,
        encryption=_chosen(values, "clientsmbencrypt", _ENCRYPTION, unset=Encryption.OFF),
        kerberos=_chosen(values, "clientusekerberos", _KERBEROS, unset=None),
        minimum=minimum,
        maximum=maximum,
        warnings=tuple(warnings),
    )


def _global_values(text: str, path: Path) -> dict[str, _Value]:
    """The values of the global section by their keys, which are in lower case and without blanks; the last one wins."""
    values: dict[str, _Value] = {}
    is_global = True
    for number, line in _logical_lines(text):
        where = f"{path}, line {number}"
        if line.startswith("["):
            if not line.endswith("]"):
                raise Error(f"{where}: the name of a section ends with ]")
            is_global = line[1:-1].strip().casefold() in ("global", "globals")
            continue
        key, equals, value = line.partition("=")
        if is_global and (not equals or not key.strip()):
            raise Error(f"{where}: neither a section nor of the form key = value")
        if is_global:
            values["".join(key.split()).casefold()] = _Value(value.strip(), where)
    return values


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, joined where a backslash ends one, with the number of the first."""
    start, joined = 0, ""
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        piece = line.strip()
        if not joined:
            start = number
            if piece.startswith(("#", ";")):
                continue
        joined += piece
        if joined.endswith("\\"):
            joined = joined[:-1]
        elif joined:
            yield start, joined
            joined = ""


def _text(values: Mapping[str, _Value], key: str) -> str:
    return values[key].text if key in values else ""


def _chosen(values: Mapping[str, _Value], key: str, choices: Mapping[str, T], *, unset: T) -> T:
    if key not in values:
        return unset
    text, where = values[key]
    if text.casefold() not in choices:
        raise Error(f"{where}: {text!r} is none of {', '.join(choices)}")
    return choices[text.casefold()]


def _bounds(values: Mapping[str, _Value], warnings: list[str]) -> tuple[Dialect, Dialect]:
    """The oldest and the newest dialect. A newest one below what is spoken by default is spoken alone."""
    newest, oldest = values.get("clientmaxprotocol"), values.get("clientminprotocol")
    maximum = _dialect(newest) or NEWEST if newest else NEWEST
    if newest and newest.text.casefold() in _SMB_1:
        raise Error(
            f"{newest.where}: client max protocol = {newest.text} leaves nothing to speak: SMB 1 is not supported, "
            "since it can be tampered with and servers have given it up; allow SMB2_02 or newer"
        )
    unset = min(OLDEST_BY_DEFAULT, maximum)
    minimum = _dialect(oldest) or unset if oldest else unset
    if oldest and oldest.text.casefold() in _SMB_1:
        told = f"SMB 1 is never spoken; the oldest is SMB {unset.label}, and SMB2_02 or SMB2_10 would allow older ones"
        warnings.append(f"{oldest.where}: client min protocol = {oldest.text}: {told}")
    if oldest and minimum > maximum:
        raise Error(f"{oldest.where}: client min protocol is newer than client max protocol")
    return minimum, maximum


def _dialect(value: _Value) -> Dialect | None:
    """The dialect of one of Samba's names; None for the default and for those of SMB 1."""
    name = value.text.casefold()
    if name == "default" or name in _SMB_1:
        return None
    if name not in _DIALECTS:
        raise Error(f"{value.where}: {value.text!r} is none of default, {', '.join(_DIALECTS).upper()}")
    return _DIALECTS[name]
