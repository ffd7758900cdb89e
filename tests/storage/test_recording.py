"""The crash states have teeth: all that the contract lets happen does happen, and nothing that it rules out."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.crash import SECTOR, crash_states
from tests.support.memory import MemoryFileSystem, Pages
from tests.support.recording import RecordingFileSystem
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.transfer import pread, pwrite

Contents = dict[str, bytes]


def contents(files: FileSystem) -> Contents:
    found = {}
    for name in files.list(""):
        storage = files.open(name, Access.INSPECT)
        found[name] = pread(storage, 0, storage.size())
        storage.close()
    return found


def recorder(**initial: bytes) -> RecordingFileSystem:
    return RecordingFileSystem(MemoryFileSystem({name: Pages(content) for name, content in initial.items()}))


def after(files: RecordingFileSystem, *, samples: int = 0) -> list[Contents]:
    """What may be found if the machine stops now."""
    now = f"event {len(files.events)}"
    files.mark(now)
    return [contents(state.files) for state in crash_states(files, samples=samples) if now in state.marks]


def sectors(*letters: str) -> bytes:
    return b"".join(letter.encode() * SECTOR for letter in letters)


def test_without_a_flush_a_write_may_be_lost_or_kept() -> None:
    files = recorder(file=sectors("a"))
    pwrite(files.open("file", Access.WRITE), 0, sectors("b"))
    assert after(files) == [{"file": sectors("a")}, {"file": sectors("b")}]


def test_what_was_flushed_is_always_there() -> None:
    files = recorder(file=sectors("a", "a"))
    storage = files.open("file", Access.WRITE)
    pwrite(storage, 0, sectors("b"))
    storage.flush()
    files.mark("flushed")
    pwrite(storage, SECTOR, sectors("c"))
    storage.truncate(5 * SECTOR)
    found = [contents(state.files) for state in crash_states(files, samples=200) if "flushed" in state.marks]
    assert all(state["file"].startswith(sectors("b")) for state in found)
    assert len(found) > 2


def test_a_flush_of_one_file_is_none_of_another() -> None:
    files = recorder(one=b"old", two=b"old")
    pwrite(files.open("one", Access.WRITE), 0, b"new")
    two = files.open("two", Access.WRITE)
    pwrite(two, 0, b"new")
    two.flush()
    assert after(files) == [
        {"one": b"old", "two": b"new"},
        {"one": b"new", "two": b"new"},
    ]


def test_a_state_is_seen_again_when_more_is_owed() -> None:
    """A write that never happened must be missed after the flush, though the same bytes were fine before it."""
    files = recorder(file=b"old")
    storage = files.open("file", Access.WRITE)
    storage.flush()
    files.mark("acknowledged")
    assert [(state.event_index, state.marks) for state in crash_states(files)] == [
        (0, ()),
        (1, ()),
        (2, ("acknowledged",)),
    ]


def test_writes_are_torn_at_sector_edges() -> None:
    files = recorder(file=sectors("a", "a", "a", "a"))
    pwrite(files.open("file", Access.WRITE), 100, (sectors("b") * 4)[:1500])
    found = [state["file"] for state in after(files, samples=2400)]
    whole = bytearray(sectors("a", "a", "a", "a"))
    whole[100:1600] = b"b" * 1500
    kept = set()
    for state in found:
        # Each sector is as before or as written: edges of a write inside a sector never tear it.
        kept.add(tuple(state[at : at + SECTOR] == whole[at : at + SECTOR] for at in range(0, 2048, SECTOR)))
        for at in range(0, 2048, SECTOR):
            assert state[at : at + SECTOR] in (sectors("a"), whole[at : at + SECTOR])
    assert len(kept) == 16


def test_any_subset_and_any_order_of_unflushed_writes_survives() -> None:
    files = recorder(file=sectors("-"))
    storage = files.open("file", Access.WRITE)
    for letter in "xyz":
        pwrite(storage, 0, sectors(letter))
    found = {state["file"][:1] for state in after(files, samples=1200)}
    assert found == {b"-", b"x", b"y", b"z"}


def test_a_later_write_may_survive_an_earlier_one() -> None:
    files = recorder(file=sectors("-", "-"))
    storage = files.open("file", Access.WRITE)
    pwrite(storage, 0, sectors("1"))
    pwrite(storage, SECTOR, sectors("2"))
    found = {state["file"] for state in after(files, samples=600)}
    assert found == {sectors(*pair) for pair in ("--", "1-", "-2", "12")}


def test_a_file_may_have_grown_without_the_bytes_and_shrunk_or_not() -> None:
    files = recorder(file=sectors("a", "a"))
    storage = files.open("file", Access.WRITE)
    storage.truncate(SECTOR)
    pwrite(storage, 3 * SECTOR, sectors("b"))
    found = {state["file"] for state in after(files, samples=1800)}
    assert sectors("a", "a") in found
    assert sectors("a") in found
    assert sectors("a") + bytes(2 * SECTOR) + sectors("b") in found
    assert sectors("a", "a") + bytes(SECTOR) + sectors("b") in found
    assert sectors("a") + bytes(3 * SECTOR) in found


def test_zeroed_and_reserved_ranges_are_writes_and_sizes_like_others() -> None:
    files = recorder(file=sectors("a", "a"))
    storage = files.open("file", Access.WRITE)
    storage.zero([(0, 2 * SECTOR)])
    storage.reserve([(2 * SECTOR, SECTOR)])
    found = {state["file"] for state in after(files, samples=1800)}
    starts = {state[: 2 * SECTOR] for state in found}
    assert starts == {sectors(*pair).replace(b"0", b"\0") for pair in ("aa", "a0", "0a", "00")}
    assert {len(state) for state in found} == {2 * SECTOR, 3 * SECTOR}


def test_a_new_name_may_be_lost_until_its_directory_is_synced() -> None:
    files = recorder()
    storage = files.create("file")
    pwrite(storage, 0, b"content")
    storage.flush()
    assert {} in after(files)
    files.sync_directory("")
    assert after(files) == [{"file": b"content"}]


def test_a_name_may_survive_without_the_bytes() -> None:
    """The classic: renamed over the old file before the new one was flushed."""
    files = recorder(file=b"precious")
    storage = files.create("temporary")
    pwrite(storage, 0, b"new")
    storage.close()
    files.rename("temporary", "file", replace=True)
    files.sync_directory("")
    assert {"file": b""} in after(files)


def test_a_rename_is_whole_or_lost_until_its_directory_is_synced() -> None:
    files = recorder(old=b"content", target=b"replaced")
    files.rename("old", "target", replace=True)
    before, done = {"old": b"content", "target": b"replaced"}, {"target": b"content"}
    assert after(files, samples=300) == [before, done]
    files.sync_directory("")
    assert after(files, samples=300) == [done]


def test_a_removed_name_may_come_back_until_its_directory_is_synced() -> None:
    files = recorder(file=b"content")
    files.remove("file")
    assert after(files) == [{"file": b"content"}, {}]
    files.sync_directory("")
    assert after(files) == [{}]


def test_names_survive_apart_but_each_keeps_the_order_of_its_changes() -> None:
    files = recorder(a=b"1")
    files.rename("a", "b", replace=False)
    files.rename("b", "c", replace=False)
    files.create("d").close()
    found = after(files, samples=1200)
    assert {tuple(sorted(state)) for state in found} == {(name, *other) for name in "abc" for other in ((), ("d",))}


def test_syncing_one_directory_is_not_syncing_another() -> None:
    files = recorder()
    files.create("one/file").close()
    files.create("two/file").close()
    files.sync_directory("one")
    files.mark("now")
    states = [state for state in crash_states(files) if "now" in state.marks]
    assert [list(state.files.paths()) for state in states] == [["one/file"], ["one/file", "two/file"]]


def test_states_are_distinct_their_own_and_repeatable() -> None:
    files = recorder(file=bytes(5000))
    storage = files.open("file", Access.WRITE)
    for at in range(20):
        pwrite(storage, at * 300, bytes([at + 1]) * 700)
    first = [(state.event_index, state.description, contents(state.files)) for state in crash_states(files, samples=50)]
    again = []
    for state in crash_states(files, samples=50):
        again.append((state.event_index, state.description, contents(state.files)))
        spoiled = state.files.open("file", Access.WRITE)
        pwrite(spoiled, 0, b"!" * 6000)
    assert again == first
    assert len({state["file"] for _, _, state in first}) == len(first)
    other = [state.description for state in crash_states(files, samples=50, seed=1)]
    assert other != [description for _, description, _ in first]


steps = st.lists(
    st.tuples(st.sampled_from(("write", "zero", "reserve", "resize", "look")), st.integers(0, 12), st.integers(0, 12)),
    max_size=10,
)


@given(steps, steps)
def test_fingerprints_are_equal_exactly_for_equal_bytes(
    first: list[tuple[str, int, int]], second: list[tuple[str, int, int]]
) -> None:
    made = []
    for script in (first, second):
        pages = Pages()
        for kind, offset, length in script:
            # Steps of less than a page and of whole ones.
            at, size = offset * 1024, length * 1024
            match kind:
                case "write":
                    pages.write(at, bytes([length % 2]) * size)
                case "zero":
                    pages.zero(min(at, pages.size), min(size, pages.size - min(at, pages.size)))
                case "reserve":
                    pages.reserve(max(at, pages.size), size)
                case "resize":
                    pages.resize(at)
                case _:
                    pages.fingerprint()
                    pages = pages.copy()
        made.append((pages.fingerprint(), pages.read(0, pages.size)))
    assert (made[0][0] == made[1][0]) == (made[0][1] == made[1][1])


def test_states_of_large_files_share_their_bytes() -> None:
    files = recorder(file=bytes(range(1, 251)) * (32 << 12))
    storage = files.open("file", Access.WRITE)
    for at in range(100):
        pwrite(storage, at << 18, b"!" * 512)
    # Held all at once: these would be many GiB if each had bytes of its own.
    states = list(crash_states(files, samples=100))
    assert len(states) > 150
