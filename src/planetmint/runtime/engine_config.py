# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's `config.toml`: only what we set, each with its reason; the engine has defaults for the rest.

What an operator wrote into the file stays: settings of the node go over it, our own defaults under it.
Figures behind the times are in docs/decisions/0009-engine-settings.md.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from planetmint.runtime.files import write_whole
from planetmint.runtime.settings import ConfigurationError

Value = str | int | float | bool | list[str]
"""What stands behind a key."""

Values = dict[str, dict[str, Value]]
"""Values by section and key; the section of keys before the first heading is empty text."""

_HEAD = (
    "# Settings of the consensus engine CometBFT, written by the node.\n"
    "# Addresses come from the node's settings at each start; other lines may be changed here and stay.\n"
)


class Line(NamedTuple):
    """One setting of ours: where it stands, its value on a new node, and why."""

    section: str
    key: str
    value: Value
    reason: str


LINES: tuple[Line, ...] = (
    Line("", "proxy_app", "tcp://127.0.0.1:26658", "The node. From `abci.*`."),
    Line("", "abci", "socket", "The node speaks ABCI 2.0 by a socket."),
    Line("", "moniker", "planetmint", "Name that peers see; it means nothing."),
    Line("", "log_format", "json", "The node reads these lines and puts them into its own log."),
    Line(
        "",
        "log_level",
        "main:info,statesync:info,*:error",
        "At `info` the engine writes ten lines a block, which the node would have to read.",
    ),
    Line("rpc", "laddr", "tcp://127.0.0.1:26657", "From `tendermint.host` and `tendermint.port`."),
    Line("rpc", "max_request_batch_size", 0, "No bound: the node hands over what waits as one batch."),
    Line("rpc", "max_body_bytes", 67_108_864, "A batch of transactions, each in base64."),
    Line("p2p", "laddr", "tcp://0.0.0.0:26656", "From `tendermint.p2p_host` and `tendermint.p2p_port`."),
    Line("p2p", "persistent_peers", "", "From `tendermint.persistent_peers`, or from `planetmint network join`."),
    Line("p2p", "addr_book_strict", False, "Peers in private networks count as peers."),
    Line("p2p", "allow_duplicate_ip", True, "Several nodes may stand behind one address."),
    Line(
        "p2p",
        "flush_throttle_timeout",
        "10ms",
        "Messages wait so long for others before they are sent; at 100ms, the default, each block takes three "
        "such waits.",
    ),
    Line(
        "p2p", "send_rate", 20_480_000, "Bytes a second for each peer; a block passes in a fraction of a second."
    ),
    Line("p2p", "recv_rate", 20_480_000, "As send_rate."),
    Line("mempool", "size", 20_000, "Transactions that may wait for a block."),
    Line("mempool", "max_txs_bytes", 268_435_456, "The same in bytes."),
    Line("mempool", "cache_size", 40_000, "Hashes by which copies are known; more than may wait."),
    Line("mempool", "max_tx_bytes", 1_048_576, "The chain's own bound is lower and is checked by the node."),
    Line(
        "mempool", "recheck_timeout", "10s", "Checking a full mempool again takes longer than the default of 1s."
    ),
    Line("statesync", "enable", False, "Set by `planetmint network join --state-sync`."),
    Line("consensus", "create_empty_blocks", False, "A block is made when transactions wait, and not otherwise."),
    Line(
        "consensus",
        "timeout_commit",
        "0s",
        "No pause after a block: it is this pause that a transaction would wait for.",
    ),
    Line("consensus", "skip_timeout_commit", True, "With the votes of all validators there, nothing to wait for."),
    Line(
        "consensus",
        "peer_gossip_sleep_duration",
        "10ms",
        "Votes and parts of blocks are passed on after such waits.",
    ),
    Line("storage", "discard_abci_responses", False, "Kept: the engine compares them when it replays a block."),
    Line("tx_index", "indexer", "null", "The node keeps transactions itself and answers every search."),
)
"""In the order of the file."""


@dataclass(frozen=True, slots=True)
class StateSync:
    """From where a new node takes a snapshot, and what it trusts.

    Attributes:
        rpc_servers: Two or more `host:port` of engines' RPC; one may stand there twice.
        trust_height: A height of the chain.
        trust_hash: Hash of the engine's header at that height, 64 hex digits.
    """

    rpc_servers: tuple[str, ...]
    trust_height: int
    trust_hash: str


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the node's settings say about the engine.

    Attributes:
        abci: URL of the node: `unix:///path` or `tcp://host:port`.
        rpc: URL to listen on for requests.
        p2p: URL to listen on for peers.
        external: `host:port` that peers are told; empty: the engine finds out.
        peers: `id@host:port`, separated by commas; None: what the file says.
    """

    abci: str
    rpc: str
    p2p: str
    external: str = ""
    peers: str | None = None

    def values(self) -> Values:
        """As they stand in the file."""
        p2p: dict[str, Value] = {"laddr": self.p2p}
        if self.external:
            p2p["external_address"] = self.external
        if self.peers is not None:
            p2p["persistent_peers"] = self.peers
        return {"": {"proxy_app": self.abci}, "rpc": {"laddr": self.rpc}, "p2p": p2p}


def write_config(path: Path, *changes: Values) -> bool:
    """Bring the file up to date; whether anything changed.

    Args:
        path: The file; it is made where there is none.
        changes: What goes over the values in the file; later ones win.

    Raises:
        ConfigurationError: The file is no TOML.
        OSError: It cannot be read or written.
    """
    values = read_config(path)
    for change in changes:
        for section, members in change.items():
            values.setdefault(section, {}).update(members)
    text = render(values)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_whole(path, text)
    return True


def read_config(path: Path) -> Values:
    """The values in the file by section and key; none where there is no file.

    Raises:
        ConfigurationError: It is no TOML.
    """
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}): mend it, or remove it to have it written anew"
        ) from None
    values: Values = {"": {}}
    for name, value in document.items():
        if isinstance(value, dict):
            values[name] = dict(value)
        else:
            values[""][name] = value
    return values


def state_sync_values(sync: StateSync | None) -> Values:
    """The section of state sync; None turns it off."""
    if sync is None:
        return {"statesync": {"enable": False}}
    return {
        "statesync": {
            "enable": True,
            "rpc_servers": ",".join(sync.rpc_servers),
            "trust_height": sync.trust_height,
            "trust_hash": sync.trust_hash,
            "trust_period": "168h0m0s",
            "discovery_time": "5s",
        }
    }


def render(values: Mapping[str, Mapping[str, Value]]) -> str:
    """The text of the file: our lines with their reasons, then what else is set."""
    sections = list(dict.fromkeys([*(line.section for line in LINES), *values]))
    return _HEAD + "".join(_section(section, values.get(section, {})) for section in sections)


def _section(section: str, values: Mapping[str, Value]) -> str:
    ours = [line for line in LINES if line.section == section]
    known = {line.key for line in ours}
    lines = [f"\n[{section}]"] if section else []
    for line in ours:
        lines += ["", f"# {line.reason}", f"{line.key} = {_literal(values.get(line.key, line.value))}"]
    others = [f"{key} = {_literal(value)}" for key, value in values.items() if key not in known]
    if others:
        lines += ["", *others]
    return "\n".join(lines) + "\n"


def _literal(value: Value) -> str:
    # What JSON writes of texts, numbers, true, false and lists of texts is TOML too.
    return json.dumps(value)
