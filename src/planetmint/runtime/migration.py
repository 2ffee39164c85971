# SPDX-License-Identifier: AGPL-3.0-or-later
"""Takes an engine's home over to the chain that a migration goes on as.

The ledger says what the new genesis file holds, so that every validator writes the same one without being told
anything. Nothing here needs to be undone: an interrupted call is carried on by the next one.
Source: elections-and-operations 4.
"""

import fcntl
from pathlib import Path
from typing import NamedTuple

from planetmint.consensus.cometbft.genesis import Genesis
from planetmint.elections.conclude import migrated_chain
from planetmint.model.block import BlockHeader, Founding
from planetmint.model.election import ChainRecord
from planetmint.model.validator import ValidatorSet
from planetmint.ports.consensus import Migrated
from planetmint.ports.store import StateReads
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.genesis_file import GenesisFile
from planetmint.runtime.reading import reading_store
from planetmint.runtime.settings import ConfigurationError, Settings

AFTER = 1_000_000
"""Nanoseconds from the last block of a chain to the genesis of the next: the same on every node."""

_LOCKED = ("blockstore.db", "state.db")


class Standing(NamedTuple):
    """The end of a chain as its ledger has it."""

    founding: Founding
    head: BlockHeader
    chain: ChainRecord
    validators: ValidatorSet


async def read_standing(settings: Settings) -> Standing:
    """Read the ledger of a node that does not run; the caller holds the lock on the data folder.

    Raises:
        ConfigurationError, StoreError: It cannot be read, or holds no chain.
    """
    async with reading_store(settings, alone=True) as store:
        founding, head = await store.founding(), await store.head()
        if founding is None or head is None:
            raise ConfigurationError("The database holds no chain yet: no chain migration is decided here.")
        view = await store.read_state(StateReads((), ()))
        return Standing(founding, head, view.chain(), view.validators())


def take_over(home: EngineHome, standing: Standing) -> str:
    """Make `home` one of the chain that `standing` waits to go on as; repeatable.

    Args:
        home: Of an engine that does not run.
        standing: Its chain is not synced.

    Returns:
        Name of the chain of which the home was before; of the new one where all had been done.

    Raises:
        ConfigurationError: The home belongs to another chain, or the engine runs.
        OSError: Something cannot be read or written.
    """
    if not home.founded:
        raise ConfigurationError(
            f"{home.path} holds no genesis file of the old chain (config/genesis.json), from which the engine's "
            "parameters are taken. Name the engine's home by --home; or copy the new genesis file from another "
            "validator."
        )
    if _in_use(home.data_folder):
        raise ConfigurationError(f"The engine works in {home.path}: stop it first.")
    old = home.read_genesis()
    expected = migrated_chain(ChainRecord(old.chain_id), standing.chain.shift).chain_id
    if standing.chain.chain_id not in (old.chain_id, expected):
        raise ConfigurationError(
            f"{home.path} belongs to the chain `{old.chain_id}`, which does not go on as "
            f"`{standing.chain.chain_id}`: name the right home by --home."
        )
    home.begin_anew(next_genesis(old, standing))
    return old.chain_id


def next_genesis(old: GenesisFile, standing: Standing) -> GenesisFile:
    """The genesis file of the chain that goes on; the engine's own parameters are those of `old`."""
    head = standing.head
    origin = Migrated(head.height, head.app_hash, standing.founding.label)
    return GenesisFile(
        standing.chain.chain_id,
        head.time + AFTER,
        standing.validators,
        Genesis(standing.founding.parameters, origin),
        app_hash=head.app_hash.upper(),
        consensus=old.consensus,
    )


def _in_use(data: Path) -> bool:
    """Whether an engine has one of its databases open; it locks a file in each."""
    for name in _LOCKED:
        try:
            with (data / name / "LOCK").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            continue
    return False
