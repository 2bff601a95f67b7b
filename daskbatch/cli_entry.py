"""Commands whose line ends with ``-- ARGUMENTS`` for the entry script."""

from __future__ import annotations

import click

__all__ = ["ARGUMENTS", "EntryCommand"]

ARGUMENTS = "daskbatch.arguments"
"""Key in click's context of what followed ``--``."""


class EntryCommand(click.Command):
    """Takes what follows ``--`` for the entry script, before click would take it for inputs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set them aside."""
        own, arguments = args, []
        if "--" in args:
            cut = args.index("--")
            own, arguments = args[:cut], args[cut + 1 :]
        ctx.meta[ARGUMENTS] = arguments
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """What the help says of them."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS...]"]
