"""A flat construct declaration bound to a frozen dataclass.

Declarations say where fields lie; rules about their values are plain functions beside them. Names that the dataclass
does not have (signatures, checksums written later, reserved bytes) stay between the declaration and the file.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from construct import Adapter, Bytes, ConstError, ConstructError, Struct

from vhdx.errors import FormatError

T = TypeVar("T")


class _Guid(Adapter):  # type: ignore[misc]
    """A GUID as Windows stores it: the first three fields little-endian."""

    def _decode(self, obj: bytes, context: Any, path: Any) -> UUID:  # noqa: ARG002  construct's signature
        return UUID(bytes_le=bytes(obj))

    def _encode(self, obj: UUID, context: Any, path: Any) -> bytes:  # noqa: ARG002
        return obj.bytes_le


GUID = _Guid(Bytes(16))
NO_GUID = UUID(int=0)


class RecordField(NamedTuple):
    """One field of a declaration and the bytes that stand there, fewer than *length* where bytes are missing.

    *value* is None where the declaration has none (reserved bytes, checksums) or the bytes are not what it asks for.
    """

    name: str
    offset: int
    length: int
    raw: bytes
    value: object


class Record(Generic[T]):
    """How one structure of fixed size is read and written; *section* is its chapter in MS-VHDX."""

    def __init__(self, cls: type[T], declaration: Struct, *, structure: str, section: str) -> None:
        self._cls = cls
        self._declaration = declaration
        self._names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        self.structure = structure
        self.section = section
        self.size: int = declaration.sizeof()

    def parse(self, data: bytes | memoryview, offset: int | None = None) -> T:
        """The value at the start of *data*; *offset* is its place in the file, for the message.

        Raises FormatError when the signature is another or bytes are missing.
        """
        try:
            found = self._declaration.parse(bytes(data[: self.size]))
        except ConstructError as error:
            raise FormatError(self.structure, offset, self._reason(data, error), self.section) from None
        return self._cls(**{name: found[name] for name in self._names})

    def _reason(self, data: bytes | memoryview, error: ConstructError) -> str:
        if len(data) < self.size:
            return f"it needs {self.size} bytes, but has {len(data)}"
        if isinstance(error, ConstError):
            mark: bytes = self._declaration.subcons[0].subcon.value
            return f"it begins with {bytes(data[: len(mark)])!r} and not with {mark!r}"
        return str(error).splitlines()[-1].strip() or type(error).__name__

    def fields(self, data: bytes | memoryview, offset: int) -> Iterator[RecordField]:
        """Every field that is declared, each by itself, whatever *data* holds; *offset* is its place in the file."""
        at = 0
        for declared in self._declaration.subcons:
            length: int = declared.sizeof()
            raw = bytes(data[at : at + length])
            value = None
            with suppress(ConstructError):
                value = declared.parse(raw)
            yield RecordField(declared.name, offset + at, length, raw, value)
            at += length

    def build(self, value: T) -> bytes:
        """The bytes of *value*, reserved bytes zero."""
        built: bytes = self._declaration.build({name: getattr(value, name) for name in self._names})
        return built
