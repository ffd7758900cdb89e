"""A file that is opened beneath a directory lies there, whatever links say and whoever changes them meanwhile."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vhdx.errors import Error, LeadsOutside
from vhdx.storage.base import Access, Unsupported
from vhdx.storage.local import LocalFileSystem, linux, way
from vhdx.storage.transfer import pread


@pytest.fixture(params=["kernel", "walk"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalFileSystem:
    """home/ with files and links, out/ beside it; with the kernel's way and with the fallback."""

    def refuse(fd: int, path: str) -> int:
        raise Unsupported("as under a filter of system calls")

    if request.param == "walk":
        monkeypatch.setattr(linux, "open_beneath", refuse)
    for directory in ("home/deep/er", "out/deep"):
        (tmp_path / directory).mkdir(parents=True)
    for path in ("home/a", "home/deep/a", "home/deep/er/a", "out/a", "out/deep/a"):
        (tmp_path / path).write_text(path)
    return LocalFileSystem(tmp_path)


def link(tmp_path: Path, name: str, target: str | Path) -> None:
    (tmp_path / name).symlink_to(target)


def content(files: LocalFileSystem, path: str, beneath: str = "home") -> str:
    storage = files.open(path, Access.READ, beneath=beneath)
    try:
        return pread(storage, 0, storage.size()).decode()
    finally:
        storage.close()


INSIDE: dict[str, tuple[Callable[[Path], str], str]] = {
    "no link": (lambda top: "home/deep/er/a", "home/deep/er/a"),
    "a file beside": (lambda top: link(top, "home/l", "a") or "home/l", "home/a"),
    "a directory": (lambda top: link(top, "home/l", "deep/er") or "home/l/a", "home/deep/er/a"),
    "absolute": (lambda top: link(top, "home/l", top / "home/deep") or "home/l/a", "home/deep/a"),
    "up and down again": (lambda top: link(top, "home/deep/l", "../deep/er") or "home/deep/l/a", "home/deep/er/a"),
    "by way of outside": (lambda top: link(top, "home/l", "../home/deep") or "home/l/a", "home/deep/a"),
}
OUTSIDE: dict[str, Callable[[Path], str]] = {
    "a file": lambda top: link(top, "home/l", "../out/a") or "home/l",
    "a directory": lambda top: link(top, "home/l", "../out") or "home/l/a",
    "absolute": lambda top: link(top, "home/l", top / "out") or "home/l/deep/a",
    "link to a link": lambda top: link(top, "home/m", "../out") or link(top, "home/l", "m/deep") or "home/l/a",
    "dangling": lambda top: link(top, "home/l", "../out/none") or "home/l",
    "letters": lambda top: "home/../out/a",
    "the directory itself": lambda top: "home",
    "its twin": lambda top: (top / "home2").mkdir() or ((top / "home2/a").write_text("x") and "home2/a"),
    "proc": lambda top: link(top, "home/l", "/proc/self/root/etc/hostname") or "home/l",
}


@pytest.mark.parametrize("shape", INSIDE)
def test_links_inside_are_followed(shape: str, files: LocalFileSystem, tmp_path: Path) -> None:
    make, expected = INSIDE[shape]
    path = make(tmp_path)
    assert content(files, path) == expected
    assert files.resolve(path, beneath="home") == expected
    assert files.open(path, Access.INSPECT, beneath="home").status() == files.stat(expected)


@pytest.mark.parametrize("shape", OUTSIDE)
def test_nothing_outside_is_opened(shape: str, files: LocalFileSystem, tmp_path: Path) -> None:
    path = OUTSIDE[shape](tmp_path)
    for access in Access:
        with pytest.raises(LeadsOutside):
            files.open(path, access, beneath="home")
    with pytest.raises(LeadsOutside):
        files.resolve(path, beneath="home")


def test_the_directory_may_be_reached_by_a_link(files: LocalFileSystem, tmp_path: Path) -> None:
    link(tmp_path, "base", "home/deep")
    assert content(files, "base/er/a", beneath="base") == "home/deep/er/a"
    assert content(files, "home/deep/a", beneath="base") == "home/deep/a"
    with pytest.raises(LeadsOutside):
        files.open("home/a", Access.READ, beneath="base")


def test_links_in_a_circle(files: LocalFileSystem, tmp_path: Path) -> None:
    link(tmp_path, "home/l", "m")
    link(tmp_path, "home/m", "l")
    with pytest.raises((Error, OSError)):
        files.open("home/l", Access.READ, beneath="home")


@pytest.mark.parametrize("swapped", ["home/deep/er/a", "home/deep/er", "home/deep"])
@pytest.mark.parametrize("access", Access)
def test_a_link_that_appears_between_the_look_and_the_opening(
    swapped: str, access: Access, files: LocalFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out/er").mkdir()
    for path in ("out/er/a", "out/deep/er/a"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("secret")
    look = way.real_names

    def swap(place: Path, base: Path) -> list[str]:
        names = look(place, base)
        if not (tmp_path / swapped).is_symlink():
            (tmp_path / swapped).rename(tmp_path / "aside")
            link(tmp_path, swapped, tmp_path / "out" / Path(swapped).relative_to("home"))
        return names

    monkeypatch.setattr(way, "real_names", swap)
    with pytest.raises((Error, OSError)):
        files.open("home/deep/er/a", access, beneath="home")


def test_a_link_is_resolved_to_the_file_that_it_leads_to(files: LocalFileSystem, tmp_path: Path) -> None:
    link(tmp_path, "home/l", "a")
    link(tmp_path, "home/m", tmp_path / "out/a")
    link(tmp_path, "d", "home")
    assert files.resolve("home/l") == "home/a"
    assert files.resolve("home/m") == os.path.realpath(tmp_path / "out/a")
    assert files.resolve("d/a") == "d/a", "a directory that is a link is the same directory"
    assert files.resolve("home/none") == "home/none"


def test_a_link_that_leads_in_a_circle_hides_no_other_file(files: LocalFileSystem, tmp_path: Path) -> None:
    link(tmp_path, "home/l", "l")
    assert files.list("home") == ["a"]


def test_hard_links_are_counted(files: LocalFileSystem, tmp_path: Path) -> None:
    assert files.stat("home/a").links == 1
    os.link(tmp_path / "home/a", tmp_path / "out/other")
    assert files.stat("home/a").links == files.open("out/other", Access.INSPECT).status().links == 2
