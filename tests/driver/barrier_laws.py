"""What has to be durable before what, in any operation on a volume, however its steps and barriers are arranged.

Each law yields a sentence for each place where it is broken.
"""

from collections.abc import Iterator, Sequence

from smbfs_driver.volumes.names import FileKind, parse
from tests.driver.barrier_cases import group, role
from tests.driver.ledger import Step
from tests.driver.places import HEADERS, Place
from vhdx.format.record import NO_GUID

CHANGES = frozenset({"write", "grow", "truncate"})


def _kind(path: str) -> FileKind | None:
    parsed = parse(path)
    return parsed.kind if parsed is not None else None


def _is_intent(path: str) -> bool:
    return _kind(path) is FileKind.INTENT


def _is_built(path: str) -> bool:
    """Whether nobody takes the file for anything yet."""
    return path.endswith(".tmp")


def volumes_change_under_a_durable_intent(steps: Sequence[Step]) -> Iterator[str]:
    """Whatever is there already, and whatever gets a final name, is changed while its volume's intent is held, durably.

    A foreign file belongs to no volume; any intent will do.
    """
    held: dict[tuple[int, str, str], bool] = {}
    for step in steps:
        if step.verb == "sync":
            held = {key: True if key[0] == step.share else durable for key, durable in held.items()}
        elif _is_intent(step.path):
            if step.verb == "create":
                held[group(step.share, step.path)] = False
            elif step.verb == "truncate":
                del held[group(step.share, step.path)]
        elif step.verb != "flush":
            for path in {step.path, step.to} - {""}:
                if _is_built(path) and group(step.share, path) not in held:
                    yield f"{_say(step)}: a temporary without an intent"
                elif not _is_built(path):
                    owners = [key for key in held if key == group(step.share, path) or not parse(path)]
                    if not any(held[key] for key in owners):
                        yield f"{_say(step)}: its intent is not there, or not durable"


def promises_are_durable_before_they_are_needed(steps: Sequence[Step]) -> Iterator[str]:
    """What is to be done after a stop is written and flushed before anything else changes that is no temporary.

    For operations with something to be done. (Of two intents one says it.)
    """
    promised = False
    for step in steps:
        if _is_intent(step.path) and step.verb == "flush":
            promised = True
        elif step.verb in (*CHANGES, "rename", "remove", "create") and not _is_intent(step.path):
            final = step.to or step.path
            if not _is_built(final) and not promised:
                yield f"{_say(step)}: nothing durable says how to recover from it"


def files_are_whole_when_they_get_their_name(steps: Sequence[Step]) -> Iterator[str]:
    """A file is flushed after its last change before it is renamed. (What is cut off at its end is free anyway.)"""
    for step in steps:
        if step.verb == "rename" and step.pending - {Place.TAIL}:
            yield f"{_say(step)}: not flushed"


def names_count_in_order(steps: Sequence[Step]) -> Iterator[str]:
    """Before a name is changed, what was changed of others is durable: names that are final, and files under one.

    The content that takes another's place, or outlives it, is there before that one goes.
    """
    for step in steps:
        if step.verb not in ("rename", "remove") or _is_intent(step.path) or _is_built(step.to or step.path):
            continue
        for share, path, _ in step.dirty:
            if not _is_intent(path) and (share, path) != (step.share, step.path):
                yield f"{_say(step)}: {role(share, path)} is not durable"
        for share, change in step.names:
            verb, _, path = change.partition(" ")
            if (verb, path) != ("create", step.path) and not _is_built(path):
                yield f"{_say(step)}: {verb} {role(share, path)} is not synced"


def success_is_durable(steps: Sequence[Step]) -> Iterator[str]:
    """When an intent is given up all of its share is durable; and when the operation is over its removal is, too."""
    names = False
    for step in steps:
        names = step.verb != "sync" and (names or step.verb in ("create", "rename", "remove"))
        if _is_intent(step.path) and step.verb in ("truncate", "remove"):
            for share, path, _ in step.dirty:
                if share == step.share and not _is_intent(path):
                    yield f"{_say(step)}: {role(step.share, path)} is not flushed"
            for share, change in step.names:
                if share == step.share and not _is_intent(change.partition(" ")[2]):
                    yield f"{_say(step)}: {change} is not synced"
    if steps[-1].verb != "sync" or names:
        yield "the removal of the intent is not synced"


def logs_hold_what_they_must(steps: Sequence[Step]) -> Iterator[str]:
    """The order of a commit, MS-VHDX 2.3: payload, log entry, pages; each durable before the next begins.

    Pages are durable before the entry after theirs is written, and before the log is taken out of use.
    """
    for before, step in zip((None, *steps), steps, strict=False):
        if step.place is Place.LOG:
            continues = before is not None and (before.place, before.path) == (Place.LOG, step.path)
            for place in sorted(step.pending - ({Place.LOG} if continues else set())):
                yield f"{_say(step)}: {place} is not flushed"
        elif step.place is Place.PAGES:
            for place in sorted(step.pending & {Place.LOG, *HEADERS}):
                yield f"{_say(step)}: {place} is not flushed"
            if not step.logged:
                yield f"{_say(step)}: no durable log entry holds it"
            if step.marks[0] is None or step.marks[0].log == NO_GUID:
                yield f"{_say(step)}: no header says that the log counts"


def headers_say_what_is_so(steps: Sequence[Step]) -> Iterator[str]:
    """A header takes a log into use, or out of it, or gives the content another id, when all before is durable.

    And that id is durable before the content changes: by it a child tells that its parent is another one.
    """
    for step in steps:
        if step.place in HEADERS and step.marks[0] != step.marks[1]:
            for place in sorted(step.pending):
                yield f"{_say(step)}: {place} is not flushed"
        elif step.place is Place.PAYLOAD:
            for place in sorted(step.pending & HEADERS):
                yield f"{_say(step)}: {place} is not flushed"


def one_header_is_whole(steps: Sequence[Step]) -> Iterator[str]:
    """Each header slot is durable before the other is written."""
    for step in steps:
        if step.place in HEADERS and step.pending & HEADERS:
            yield f"{_say(step)}: the other one is not flushed"


ALWAYS = (
    volumes_change_under_a_durable_intent,
    files_are_whole_when_they_get_their_name,
    names_count_in_order,
    success_is_durable,
    logs_hold_what_they_must,
    headers_say_what_is_so,
    one_header_is_whole,
)


def broken(steps: Sequence[Step], *, promises: bool) -> list[str]:
    """Every breach of every law; *promises* says whether the operation has anything to promise."""
    laws = (*ALWAYS, promises_are_durable_before_they_are_needed) if promises else ALWAYS
    return [f"{law.__name__}: {breach}" for law in laws for breach in law(steps)]


def _say(step: Step) -> str:
    target = f" -> {role(step.share, step.to)}" if step.to else ""
    return f"{step.verb} {role(step.share, step.path)}{target}{': ' if step.place else ''}{step.place}"
