"""A flat construct declaration bound to a frozen dataclass.

Declarations define the layout; rules about values are plain functions. Declared fields that the dataclass lacks
(signatures, checksums written later, reserved bytes) exist in the file only.
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
    """One declared field and its bytes, fewer than *length* if the data is too short.

    *value* is None for fields without a value (reserved bytes, checksums) and for bytes that cannot be parsed.
    """

    name: str
    offset: int
    length: int
    raw: bytes
    value: object


class Record(Generic[T]):
    """Parses and builds one structure of fixed size; *section* is its section in MS-VHDX."""

    def __init__(self, cls: type[T], declaration: Struct, *, structure: str, section: str) -> None:
        self._cls = cls
        self._declaration = declaration
        self._names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        self.structure = structure
        self.section = section
        self.size: int = declaration.sizeof()

    def parse(self, data: bytes | memoryview, offset: int | None = None) -> T:
        """Parse the start of *data*; *offset* is the file offset for error messages.

        Raises FormatError when the signature is wrong or *data* is too short.
        """
        try:
            found = self._declaration.parse(bytes(data[: self.size]))
        except ConstructError as error:
            raise FormatError(self.structure, offset, self._reason(data, error), self.section) from None
        return self._cls(**{name: found[name] for name in self._names})

    def _reason(self, data: bytes | memoryview, error: ConstructError) -> str:
        if len(data) < self.size:
            return f"truncated: {len(data)} of {self.size} bytes"
        if isinstance(error, ConstError):
            mark: bytes = self._declaration.subcons[0].subcon.value
            return f"the signature is {bytes(data[: len(mark)])!r} instead of {mark!r}"
        return str(error).splitlines()[-1].strip() or type(error).__name__

    def fields(self, data: bytes | memoryview, offset: int) -> Iterator[RecordField]:
        """Every declared field, parsed one by one, whatever *data* holds; *offset* is its file offset."""
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
        """The bytes of *value*; reserved bytes are zero."""
        built: bytes = self._declaration.build({name: getattr(value, name) for name in self._names})
        return built
