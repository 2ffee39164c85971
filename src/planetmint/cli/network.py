# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands `network show|found|join`: how several nodes become one network.

Each prints or takes what the next one needs; nothing is edited by hand. They change files of the engine's home
only, and refuse while the node runs. Source: elections-and-operations 7, decision D9.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import typer

from planetmint.cli.console import read_file, say, show, show_json
from planetmint.consensus.cometbft.genesis import Genesis
from planetmint.model.validator import Validator
from planetmint.runtime.clock import SystemClock
from planetmint.runtime.contracts import founding_parameters, require_engine
from planetmint.runtime.engine_config import StateSync
from planetmint.runtime.engine_home import POWER, EngineHome, check_peers, open_home, take_genesis
from planetmint.runtime.files import write_whole
from planetmint.runtime.genesis_file import (
    GenesisFile,
    check_validators,
    format_time,
    read_public_key,
    validator_address,
)
from planetmint.runtime.keys import load_key
from planetmint.runtime.lock import data_folder
from planetmint.runtime.settings import ConfigurationError, Settings, bracketed

_MILLISECOND = 1_000_000
_EVERY_INTERFACE = frozenset({"0.0.0.0", "::"})


def network_show(settings: Settings) -> None:
    """Print what others need to know of this node, as JSON. Raises ConfigurationError without a home."""
    _check_home_kept(settings)
    home = EngineHome(settings.engine_home)
    if not home.config.exists():
        raise ConfigurationError(f"There is no home of the engine in {home.path} yet. Run `planetmint init`.")
    key = load_key(home.config_folder).public
    engine = settings.tendermint
    genesis = home.read_genesis() if home.founded else None
    host = "127.0.0.1" if engine.p2p_host in _EVERY_INTERFACE else engine.p2p_host
    listens = f"{bracketed(host)}:{engine.p2p_port}"
    show_json(
        {
            "chain_id": genesis.chain_id if genesis is not None else None,
            "home": str(home.path),
            "node_id": home.node_id(),
            "p2p_address": f"{home.node_id()}@{engine.external_address or listens}",
            "validator": Validator(key, 0).to_json()["public_key"]["value"],  # type: ignore[call-overload, index]
            "validator_address": validator_address(key),
            "validators": [one.to_json() for one in genesis.validators] if genesis is not None else [],
        }
    )


def network_found(
    settings: Settings, validators: Sequence[str], chain_id: str | None, target: Path | None
) -> None:
    """Make the genesis file of a chain of several validators, and print or write it.

    Args:
        settings: The chain's parameters come from `chain.*`.
        validators: `KEY` or `KEY:POWER`, keys in base64.
        chain_id: Name of the chain; None: `chain.id`, or one is made.
        target: The file; None for stdout.

    Raises:
        typer.BadParameter: A validator that is none.
        ConfigurationError: Contracts are asked for, and this machine has no engine for them.
        OSError: The file cannot be written.
    """
    try:
        members = tuple(_validator(text) for text in validators)
        check_validators(members)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--validator") from None
    name = chain_id or settings.chain.id or f"planetmint-{os.urandom(4).hex()}"
    parameters = founding_parameters(settings)
    time = SystemClock().now() // _MILLISECOND * _MILLISECOND
    genesis = GenesisFile(name, time, members, Genesis(parameters))
    if target is None:
        show(genesis.to_text().rstrip("\n"))
    else:
        write_whole(target, genesis.to_text())
        say(f"The genesis file {target} founds the chain {name} at {format_time(time)}.")
    say("Every node of the network needs this very file: `planetmint network join --genesis FILE --peer ...`")


def network_join(settings: Settings, genesis: Path | None, peers: Sequence[str], sync: StateSync | None) -> None:
    """Make this node one of a network: genesis file, peers, and from where it takes a snapshot.

    Args:
        settings: Where the home is; it is made where there is none.
        genesis: The network's genesis file; None keeps the one that is there.
        peers: `ID@HOST:PORT` of some other nodes; added to those that are known.
        sync: From where the ledger comes as a snapshot; None: every block is fetched and executed.

    Raises:
        ConfigurationError: The home runs another chain, this machine cannot run the contracts of the chain, or
            something given is wrong.
    """
    _check_home_kept(settings)
    check_peers(tuple(peers))
    with data_folder(settings.data.path):
        home = open_home(settings, make=True, join=True)
        if genesis is not None:
            take_genesis(home, read_file(genesis), str(genesis), settings)
        elif not home.founded:
            raise ConfigurationError("--genesis is needed: this node has no genesis file yet")
        else:
            require_engine(home.read_genesis().app.parameters, settings)
        home.add_peers(tuple(peers))
        if sync is not None:
            if home.has_blocks:
                raise ConfigurationError(
                    f"{home.path} has blocks already, and so no use for a snapshot: leave --state-sync out"
                )
            home.set_state_sync(sync)
        show(f"{home.path} is ready for the chain {home.read_genesis().chain_id}. Start the node.")


def state_sync_of(servers: str | None, height: int | None, digest: str | None) -> StateSync | None:
    """What three flags say together; None where none is given. Raises typer.BadParameter."""
    if servers is None and height is None and digest is None:
        return None
    if servers is None or height is None or digest is None:
        raise typer.BadParameter("--state-sync, --trust-height and --trust-hash go together.")
    named = tuple(server for server in servers.split(",") if server)
    if not named:
        raise typer.BadParameter("names no HOST:PORT.", param_hint="--state-sync")
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", digest):
        raise typer.BadParameter("must be 64 hex digits.", param_hint="--trust-hash")
    # The engine asks for two; where there is one to trust, it stands there twice.
    return StateSync(named if len(named) > 1 else named * 2, height, digest)


def _check_home_kept(settings: Settings) -> None:
    if not settings.engine_home_kept:
        raise ConfigurationError(
            "This node has no engine beside it: set consensus.engine=cometbft (PLANETMINT_CONSENSUS_ENGINE), and "
            "tendermint.host to this machine or tendermint.home to the engine's home"
        )


def _validator(text: str) -> Validator:
    key, colon, power = text.partition(":")
    if colon and not (power.isascii() and power.isdigit()):
        raise ValueError(f"`{power}` is no power: write KEY or KEY:POWER")
    return Validator(read_public_key(key), int(power) if colon else POWER)
