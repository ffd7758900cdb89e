"""Defaults for the list of shares from a Samba configuration file (smb.conf(5)).

Reads from ``[global]``: workgroup, realm, client signing, client smb encrypt, client use kerberos, client min protocol,
client max protocol, with Samba's values; ignores everything else. ``include`` and ``config file`` are not followed, and
signing is never disabled; `ClientDefaults.warnings` reports both.

Not configparser, which supports neither continuation lines nor indented keys and does not report line numbers.
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
    """The default for encryption."""

    OFF = "off"
    DESIRED = "desired"
    REQUIRED = "required"


class SigningWord(Enum):
    """The value of ``client signing``; messages are signed in any case."""

    OFF = "off"
    UNSAID = "unsaid"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class ClientDefaults:
    """Defaults for options that the list of shares does not set. *realm* applies to Kerberos names without one.

    With *must_sign*, or if encryption is required, a guest log-on is refused.
    """

    source: str = ""
    domain: str = ""
    realm: str = ""
    must_sign: bool = False
    encryption: Encryption = Encryption.OFF
    kerberos: bool | None = None  # True: Kerberos only; False: NTLM only; None: negotiate
    minimum: Dialect = OLDEST_BY_DEFAULT
    maximum: Dialect = NEWEST
    warnings: tuple[str, ...] = ()


NOTHING_SAID = ClientDefaults()


class _Value(NamedTuple):
    """A value with its file and line."""

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
    """Load the file *name*; without a name, no defaults. Raises as `load` does."""
    return load(Path(name)) if name else NOTHING_SAID


def load(path: Path) -> ClientDefaults:
    """Load a file. Raises Error with file and line, OSError if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Error(f"{path}: not valid UTF-8 (byte {error.start})") from None
    values = _global_values(text, path)
    warnings = [
        f"{values[key].where}: {values[key].text}: other files are not included; set the client options in this file"
        for key in _ELSEWHERE
        if key in values
    ]
    signing = _chosen(values, "clientsigning", _SIGNING, unset=SigningWord.UNSAID)
    if signing is SigningWord.OFF:
        where = values["clientsigning"].where
        warnings.append(f"{where}: client signing cannot be disabled: messages are always signed or encrypted")
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
    """The values of the global section by key, in lower case without spaces; the last one wins."""
    values: dict[str, _Value] = {}
    is_global = True
    for number, line in _logical_lines(text):
        where = f"{path}, line {number}"
        if line.startswith("["):
            if not line.endswith("]"):
                raise Error(f"{where}: section name without closing ]")
            is_global = line[1:-1].strip().casefold() in ("global", "globals")
            continue
        key, equals, value = line.partition("=")
        if is_global and (not equals or not key.strip()):
            raise Error(f"{where}: expected [section] or key = value")
        if is_global:
            values["".join(key.split()).casefold()] = _Value(value.strip(), where)
    return values


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Non-empty lines without comments, with the number of their first line; a trailing backslash continues a line."""
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
        raise Error(f"{where}: invalid value {text!r}: must be one of {', '.join(choices)}")
    return choices[text.casefold()]


def _bounds(values: Mapping[str, _Value], warnings: list[str]) -> tuple[Dialect, Dialect]:
    """The minimum and maximum dialect. A maximum below the default minimum becomes the minimum, too."""
    newest, oldest = values.get("clientmaxprotocol"), values.get("clientminprotocol")
    maximum = _dialect(newest) or NEWEST if newest else NEWEST
    if newest and newest.text.casefold() in _SMB_1:
        raise Error(
            f"{newest.where}: client max protocol = {newest.text} permits no supported dialect: SMB 1 is insecure and "
            "not supported; set SMB2_02 or newer"
        )
    unset = min(OLDEST_BY_DEFAULT, maximum)
    minimum = _dialect(oldest) or unset if oldest else unset
    if oldest and oldest.text.casefold() in _SMB_1:
        warnings.append(
            f"{oldest.where}: client min protocol = {oldest.text}: SMB 1 is not supported; the minimum is SMB "
            f"{unset.label}; SMB2_02 or SMB2_10 would allow older dialects"
        )
    if oldest and minimum > maximum:
        raise Error(f"{oldest.where}: client min protocol is newer than client max protocol")
    return minimum, maximum


def _dialect(value: _Value) -> Dialect | None:
    """The dialect of a Samba protocol name; None for the default and for SMB 1."""
    name = value.text.casefold()
    if name == "default" or name in _SMB_1:
        return None
    if name not in _DIALECTS:
        known = ", ".join(_DIALECTS).upper()
        raise Error(f"{value.where}: invalid value {value.text!r}: must be one of default, {known}")
    return _DIALECTS[name]
