"""Building the stand-in for virtdisk.dll: its numbers and the assertions about its layouts come from the facts."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from tests.virtdisk.facts import FACTS

COMPILER = "x86_64-w64-mingw32-gcc"
SOURCE = Path(__file__).with_name("standin.c")
NAME = "standin.dll"
FROM_WINDOWS_H = {"OVERLAPPED"}
"""Structures that the compiler's own headers declare, which are asserted all the same."""


def build(directory: Path) -> Path:
    """Compile it into *directory*; a layout that is not Microsoft's stops the compiler."""
    (directory / "facts.h").write_text("\n".join([*numbers(), *assertions()]) + "\n")
    target = directory / NAME
    options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", f"-I{directory}"]
    subprocess.run([COMPILER, *options, "-o", target, SOURCE, "-lntdll"], check=True)
    return target


def numbers() -> Iterator[str]:
    """A definition of each number and GUID."""
    for enumeration in FACTS["enumerations"].values():
        yield from (f"#define {name} {value:#x}u" for name, value in enumeration.items())
    for name, value in FACTS["constants"].items():
        yield f"#define {name} {f'{value:#x}u' if isinstance(value, int) else initialiser(UUID(value))}"
    for name, value in FACTS["codes"].items():
        yield f"#undef {name}"
        yield f"#define {name} {value:#x}u"


def initialiser(value: UUID) -> str:
    first, second, third = value.fields[:3]
    rest = ", ".join(f"{byte:#04x}" for byte in value.bytes[8:])
    return f"{{{first:#x}, {second:#x}, {third:#x}, {{{rest}}}}}"


def assertions() -> Iterator[str]:
    """That each structure which the stand-in declares is laid out as Microsoft's."""
    text = SOURCE.read_text()
    for name, fact in FACTS["structures"].items():
        if f"}} {name};" in text or name in FROM_WINDOWS_H:
            yield f'_Static_assert(sizeof({name}) == {fact["size"]}, "{name}");'
            for member, (offset, size, _) in fact["members"].items():
                yield f'_Static_assert(offsetof({name}, {member}) == {offset}, "{name}.{member}");'
                yield f'_Static_assert(sizeof((({name} *)0)->{member}) == {size}, "{name}.{member}");'
