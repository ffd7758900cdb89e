"""The ``--shrink`` and ``--force`` options."""

import click

from vhdx.verbs.shrink import Shrink


def shrinking(*, shrink: bool, force: bool) -> Shrink:
    """What the two options allow. Raises UsageError for --force without --shrink."""
    if force and not shrink:
        raise click.UsageError("--force requires --shrink")
    return Shrink.FORCE if force else Shrink.UNUSED if shrink else Shrink.REFUSE
