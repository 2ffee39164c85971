# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands `init`, `drop` and `migrate`: what is done to a store while no node runs (cli-and-config 2)."""

import asyncio
from pathlib import Path

from planetmint.cli.console import ask, read_file, say, show
from planetmint.runtime.backends import make_keeper
from planetmint.runtime.lock import data_folder
from planetmint.runtime.settings import ConfigurationError, Settings
from planetmint.runtime.snapshots import forget_unfinished


def init(settings: Settings, *, genesis: Path | None, join: bool) -> None:
    """Make the store's layout and, beside an engine, its home; repeatable. Blocks begin at the first start.

    Args:
        settings: What is made, and where.
        genesis: A genesis file to take instead of founding a chain.
        join: Whether the genesis file will come by `network join`.

    Raises:
        ConfigurationError, StoreError: Something cannot be made.
    """
    keeper = make_keeper(settings)
    if (genesis is not None or join) and not settings.engine_home_kept:
        raise ConfigurationError(
            "--genesis and --join are for nodes with an engine beside them: set consensus.engine=cometbft "
            "(PLANETMINT_CONSENSUS_ENGINE), and tendermint.host to this machine"
        )
    with data_folder(settings.data.path):
        asyncio.run(keeper.create())
        show(f"The database {keeper.name} is ready.")
        if settings.engine_home_kept:
            _init_engine(settings, genesis, join)


def _init_engine(settings: Settings, genesis: Path | None, join: bool) -> None:
    from planetmint.runtime.engine_home import open_home, take_genesis

    home = open_home(settings, make=True, join=join or genesis is not None)
    if genesis is not None:
        take_genesis(home, read_file(genesis), str(genesis), settings)
    if home.founded:
        show(f"The engine's home {home.path} is ready for the chain {home.read_genesis().chain_id}.")
    else:
        show(f"The engine's home {home.path} is ready; `planetmint network join` brings its genesis file.")


def drop(settings: Settings, *, assume_yes: bool) -> None:
    """Delete the store, after a question that only the answer `y` takes for a yes."""
    keeper = make_keeper(settings)
    if not assume_yes and ask(f"Do you want to drop `{keeper.name}` database? [y/n]:") != "y":
        say("Nothing was dropped.")
        return
    with data_folder(settings.data.path):
        dropped = asyncio.run(keeper.drop())
        forget_unfinished(settings.data.path)
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
