"""What a campaign took over from other units, in words."""

from __future__ import annotations

from ci.cli.console import count_things, say
from reconciler.planning.production import Produced


def tell_taken_over(name: str, production: Produced) -> None:
    """Says how many runs of each output of a campaign were taken over, and from which steps of which campaigns."""
    for (step, output), makers in production.count_makers().items():
        for maker, runs in makers.items():
            say(f"{name}/{step}/{output}: {count_things(runs, 'run')} taken over from {maker}")
    if production.unknown is not None:
        say(f"what {name} took over from other campaigns is not known: {production.unknown}")
