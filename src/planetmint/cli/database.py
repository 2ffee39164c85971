# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands `init`, `drop` and `migrate`: what is done to a store while no node runs (cli-and-config 2)."""

import asyncio

from planetmint.cli.console import ask, say, show
from planetmint.runtime.backends import make_keeper
from planetmint.runtime.lock import data_folder
from planetmint.runtime.settings import Settings


def init(settings: Settings) -> None:
    """Make the store's layout; repeatable. The chain itself is founded at the first start."""
    keeper = make_keeper(settings)
    with data_folder(settings.data.path):
        asyncio.run(keeper.create())
    show(f"The database {keeper.name} is ready.")


def drop(settings: Settings, *, assume_yes: bool) -> None:
    """Delete the store, after a question that only the answer `y` takes for a yes."""
    keeper = make_keeper(settings)
    if not assume_yes and ask(f"Do you want to drop `{keeper.name}` database? [y/n]:") != "y":
        say("Nothing was dropped.")
        return
    with data_folder(settings.data.path):
        dropped = asyncio.run(keeper.drop())
    if not dropped:
        say(f"There is nothing to drop: the database {keeper.name} does not exist.")
        return
    show(f"The database {keeper.name} was dropped.")


def migrate(settings: Settings) -> None:
    """Bring the store to the present layout; each step once, and refused while a node runs."""
    keeper = make_keeper(settings)
    with data_folder(settings.data.path):
        done = asyncio.run(keeper.migrate())
    show(done)
