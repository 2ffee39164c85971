# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `status`: what an operator asks first, on one page, whether or not the node runs."""

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from planetmint.cli.console import show, show_json
from planetmint.cli.engine_client import ask_engine
from planetmint.cli.node_client import NodeClient
from planetmint.model.block import BlockHeader, Founding
from planetmint.model.election import ChainRecord
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.validator import ValidatorSet
from planetmint.ports.errors import StoreError
from planetmint.ports.store import StateReads
from planetmint.runtime.contracts import why_not
from planetmint.runtime.reading import reading_store
from planetmint.runtime.services import engine_rpc
from planetmint.runtime.settings import ConfigurationError, Settings, TarantoolSettings
from planetmint.runtime.snapshots import restoring, size_of
from planetmint.version import __version__

_MOST_VALIDATORS = 20
_NANOSECONDS = 1_000_000_000


class Code(IntEnum):
    """Exit codes."""

    WELL = 0
    DOWN = 3
    TROUBLE = 4


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the database says."""

    founding: Founding
    head: BlockHeader
    chain: ChainRecord
    validators: ValidatorSet


@dataclass(frozen=True, slots=True)
class Engine:
    """What the engine's RPC says; heights are its own.

    Attributes:
        version: Of the engine.
        network: The chain's name there.
        height: Of its newest block.
        catching_up: Whether it still fetches blocks.
        peers: Names of those that it is connected to.
    """

    version: str
    network: str
    height: int
    catching_up: bool
    peers: tuple[str, ...]


def status(settings: Settings, *, as_json: bool) -> Code:
    """Print the page; the exit code: 0 well, 3 the node does not run, 4 it runs and something is wrong."""
    health = NodeClient(settings.server).health()
    engine = _engine(settings)
    ledger, reason = asyncio.run(_ledger(settings))
    code = _code(settings, health, engine, ledger)
    document = _document(settings, health, engine, ledger, reason)
    if as_json:
        show_json({**document, "exit_code": int(code)})
    else:
        show(_page(document))
    return code


def _code(settings: Settings, health: "Health", engine: Engine | None, ledger: Ledger | None) -> Code:
    if health is None:
        return Code.DOWN
    ready, _ = health
    lost = settings.consensus.engine == "cometbft" and (engine is None or engine.catching_up)
    return Code.TROUBLE if not ready or lost or ledger is None else Code.WELL


Health = tuple[bool, str] | None
"""Whether the node takes transactions, and its words; None where it does not answer."""


async def _ledger(settings: Settings) -> tuple[Ledger | None, str]:
    """What the database says, or why it does not."""
    try:
        async with reading_store(settings) as store:
            founding, head = await store.founding(), await store.head()
            if founding is None or head is None:
                return None, "it holds no chain yet"
            chain = (await store.read_state(StateReads((), ()))).chain()
            return Ledger(founding, head, chain, await store.validators()), ""
    except (ConfigurationError, StoreError) as error:
        return None, str(error)


def _engine(settings: Settings) -> Engine | None:
    """What the engine says; None for `solo`, and where it does not answer."""
    if settings.consensus.engine != "cometbft":
        return None
    try:
        told, network = ask_engine(settings, "status"), ask_engine(settings, "net_info")
        node, sync = told["node_info"], told["sync_info"]
        return Engine(
            version=str(node["version"]),
            network=str(node["network"]),
            height=int(sync["latest_block_height"]),
            catching_up=bool(sync["catching_up"]),
            peers=tuple(
                f"{peer['node_info']['moniker']} ({peer['node_info']['id']}@{peer['remote_ip']})"
                for peer in network["peers"]
            ),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _document(
    settings: Settings, health: Health, engine: Engine | None, ledger: Ledger | None, reason: str
) -> JsonObject:
    return {
        "version": __version__,
        "node": _node(settings, health),
        "chain": None if ledger is None else _chain(ledger),
        "contracts": None if ledger is None else _contracts(settings, ledger),
        "engine": _engine_document(settings, engine),
        "database": _database(settings, ledger, reason),
    }


def _node(settings: Settings, health: Health) -> JsonObject:
    return {
        "address": settings.server.bind,
        "data_dir": str(settings.data.path),
        "detail": "nothing answers there" if health is None else health[1],
        "ready": health is not None and health[0],
        "running": health is not None,
    }


def _chain(ledger: Ledger) -> JsonObject:
    chain, head = ledger.chain, ledger.head
    migration = "none"
    if not chain.synced:
        migration = f"halted after block {chain.shift}, until an engine begins {chain.chain_id}"
    elif chain.shift:
        migration = f"finished: {chain.chain_id} since block {chain.shift + 1}"
    return {
        "app_hash": head.app_hash,
        "chain_id": chain.chain_id,
        "height": head.height,
        "label": ledger.founding.label,
        "migration": migration,
        "migration_waits": not chain.synced,
        "time": datetime.fromtimestamp(head.time // _NANOSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "validators": [validator.to_json() for validator in ledger.validators],
    }


def _contracts(settings: Settings, ledger: Ledger) -> JsonObject:
    contracts = ledger.founding.parameters.contracts
    return {
        "detail": why_not(ledger.founding.parameters, settings),
        "engine": contracts.engine,
        "scripts": contracts.scripts,
        "zenroom": contracts.zenroom,
    }


def _engine_document(settings: Settings, engine: Engine | None) -> JsonObject:
    name = settings.consensus.engine
    if name == "solo":
        return {"name": name}
    told: JsonObject = {"name": name, "address": engine_rpc(settings), "answers": engine is not None}
    if engine is not None:
        told |= {**asdict(engine), "peers": list(engine.peers)}
    return told


def _database(settings: Settings, ledger: Ledger | None, reason: str) -> JsonObject:
    size: int | None = None
    if not isinstance(settings.database, TarantoolSettings):
        path = settings.database_path
        size = sum(size_of(path.with_name(path.name + suffix)) for suffix in ("", "-wal"))
        place = str(path)
    elif settings.database_managed:
        place = str(settings.database_folder)
        size = size_of(settings.database_folder)
    else:
        place = f"{settings.database.host}:{settings.database.port}"
    if restoring(settings.data.path):
        reason = "a restore was interrupted: run `planetmint restore` again"
    return {
        "backend": settings.database.backend,
        "detail": reason or None,
        "place": place,
        "readable": ledger is not None,
        "size": size,
    }


def _page(document: JsonObject) -> str:
    node, chain, engine, database = (document[name] for name in ("node", "chain", "engine", "database"))
    assert isinstance(node, dict) and isinstance(engine, dict) and isinstance(database, dict)
    running = f"running, {node['detail']}" if node["running"] else "not running"
    lines = [
        ("version", document["version"]),
        ("node", f"{running} ({node['address']})"),
        ("data folder", node["data_dir"]),
        ("engine", _engine_line(engine)),
    ]
    if "peers" in engine:
        peers = engine["peers"]
        assert isinstance(peers, list)
        lines.append(("peers", ", ".join([str(peer) for peer in peers]) or "none"))
        lines.append(("catching up", "yes" if engine["catching_up"] else "no"))
    lines.append(("database", f"{database['backend']} at {database['place']}{_size(database['size'])}"))
    if database["detail"]:
        lines.append(("", database["detail"]))
    if isinstance(chain, dict):
        lines += [(name.replace("_", " "), chain[name]) for name in ("chain_id", "height")]
        lines += [("time", f"{chain['time']} (of the newest block)"), ("app hash", chain["app_hash"])]
        lines.append(("migration", chain["migration"]))
        lines += _contract_lines(document["contracts"])
        validators = chain["validators"]
        assert isinstance(validators, list)
        for number, item in enumerate(validators[:_MOST_VALIDATORS]):
            assert isinstance(item, dict)
            key = item["public_key"]
            assert isinstance(key, dict)
            text = f"{key['value']} power {item['voting_power']}"
            lines.append(("" if number else f"validators ({len(validators)})", text))
    return "\n".join(f"{name:<16}{value}".rstrip() for name, value in lines)


def _contract_lines(contracts: JsonValue) -> list[tuple[str, JsonValue]]:
    if not isinstance(contracts, dict):
        return []
    if contracts["zenroom"] == contracts["scripts"] == "off":
        return [("contracts", "off")]
    modes = f"{contracts['engine']}, conditions {contracts['zenroom']}, scripts {contracts['scripts']}"
    lines: list[tuple[str, JsonValue]] = [("contracts", modes)]
    return [*lines, ("", contracts["detail"])] if contracts["detail"] else lines


def _engine_line(engine: JsonObject) -> str:
    if engine["name"] == "solo":
        return "solo: the node makes its own blocks"
    if not engine["answers"]:
        return f"cometbft at {engine['address']} does not answer"
    return (
        f"cometbft {engine['version']} at {engine['address']}, {engine['network']}, its height {engine['height']}"
    )


def _size(size: Any) -> str:
    if size is None:
        return ""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1_024 or unit == "GiB":
            break
        size /= 1_024
    return f", {size:,.0f} {unit}" if unit == "bytes" else f", {size:,.1f} {unit}"
