# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `election migrate`: the engine's part of a chain migration that the validators have decided."""

import asyncio
from pathlib import Path

from planetmint.cli.console import CommandFailed, show
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.lock import data_folder
from planetmint.runtime.migration import Standing, read_standing, take_over
from planetmint.runtime.settings import Settings


def migrate(settings: Settings, home: Path | None) -> None:
    """Prepare the engine's home for the chain's new name, and say what is to be done next.

    Args:
        settings: Of the node.
        home: The engine's home; None: that of the managed engine.

    Raises:
        CommandFailed: Nothing of the kind was decided, or it is not known where the engine is.
        ConfigurationError, StoreError: Node or engine run, or something cannot be used.
    """
    if settings.consensus.engine == "solo":
        raise CommandFailed("A node that makes its own blocks (consensus.engine=solo) migrates by itself.")
    if home is None and not settings.engine_managed:
        raise CommandFailed("Somebody else starts the engine of this node: name the engine's home by --home.")
    place = EngineHome(settings.engine_home if home is None else home.expanduser().absolute())
    with data_folder(settings.data.path):
        standing = asyncio.run(read_standing(settings))
        chain = standing.chain
        if chain.synced and chain.shift == 0:
            raise CommandFailed(
                "No chain migration is decided: `planetmint election new chain-migration` asks for it."
            )
        if chain.synced:
            show(f"The chain goes on as {chain.chain_id} already: there is nothing to do.")
            return
        before = take_over(place, standing)
    for line in _report(place, standing, before, managed=home is None):
        show(line)


def _report(place: EngineHome, standing: Standing, before: str, *, managed: bool) -> list[str]:
    chain, head = standing.chain, standing.head
    lines = []
    if before != chain.chain_id:
        lines.append(f"The data of the chain {before} is kept in {place.path}; remove it when nobody needs it.")
    lines.append(f"The genesis file of the chain {chain.chain_id} is {place.genesis}.")
    lines.append(f"It goes on after block {head.height} with app hash {head.app_hash}.")
    if managed:
        lines.append("Next: planetmint start")
    else:
        lines.append("Next: planetmint start, and the engine with this home.")
    return lines
