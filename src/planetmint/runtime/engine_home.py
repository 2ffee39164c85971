# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's home folder, in the engine's standard layout: keys, genesis file, settings, sign state.

Everything here may be repeated and goes on where an earlier call was interrupted. Nothing starts the engine.
Source: elections-and-operations 4 to 7, decision D9.
"""

import base64
import json
import logging
import os
import re
import shutil
from hashlib import sha256
from pathlib import Path

from nacl.bindings import crypto_sign_seed_keypair

from planetmint.consensus.cometbft.genesis import Genesis
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator
from planetmint.runtime.clock import SystemClock
from planetmint.runtime.contracts import founding_parameters, require_engine
from planetmint.runtime.engine_config import (
    Addresses,
    StateSync,
    Value,
    read_config,
    state_sync_values,
    write_config,
)
from planetmint.runtime.files import sync_folder, write_whole
from planetmint.runtime.genesis_file import GenesisFile, parse_genesis, read_genesis
from planetmint.runtime.keys import KEY_FILE, ValidatorKey, load_or_make_key
from planetmint.runtime.services import engine_addresses
from planetmint.runtime.settings import ConfigurationError, Settings

POWER = 10
"""Power of a chain's first validators where nothing else is said, as the engine's own default."""

_log = logging.getLogger(__name__)

_NODE_KEY_TYPE = "tendermint/PrivKeyEd25519"
_NODE_ID_BYTES = 20
_SEED_BYTES = 32
_FRESH_SIGN_STATE = {"height": "0", "round": 0, "step": 0}
_PEER = re.compile(r"[0-9a-f]{40}@(\[[^\[\]\s]+\]|[^\[\]:\s/@,]+):[0-9]{1,5}")


class EngineHome:
    """A home folder.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_folder = path / "config"
        self.data_folder = path / "data"
        self.config = self.config_folder / "config.toml"
        self.genesis = self.config_folder / "genesis.json"
        self.node_key = self.config_folder / "node_key.json"
        self.validator_key = self.config_folder / KEY_FILE
        self.sign_state = self.data_folder / "priv_validator_state.json"
        self._awaited = self.config_folder / "genesis.awaited"

    def prepare(self, addresses: Addresses, *, follow: bool = True) -> ValidatorKey:
        """Make folders, keys, sign state and settings, as far as they are not there; the validator's key.

        Args:
            addresses: Of the node and its engine.
            follow: Whether settings that are there take these addresses over; False for somebody else's engine.

        Raises:
            ConfigurationError: A file of an earlier call cannot be used.
            OSError: Something cannot be written.
        """
        self.config_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.data_folder.mkdir(mode=0o700, exist_ok=True)
        key = load_or_make_key(self.config_folder)
        self.node_id()
        if not self.sign_state.exists():
            write_whole(self.sign_state, json.dumps(_FRESH_SIGN_STATE, indent=2) + "\n", 0o600)
        if follow or not self.config.exists():
            write_config(self.config, addresses.values())
        return key

    @property
    def founded(self) -> bool:
        """Whether there is a genesis file."""
        return self.genesis.exists()

    @property
    def awaits_genesis(self) -> bool:
        """Whether this home was made for a chain of others and has not got its genesis file yet."""
        return not self.founded and self._awaited.exists()

    def await_genesis(self) -> None:
        """Remember that the genesis file comes from others: no chain is founded here. Raises OSError."""
        if not self.founded:
            write_whole(self._awaited, "`planetmint network join` brings the genesis file.\n")

    @property
    def has_blocks(self) -> bool:
        """Whether the engine has begun to keep a chain here."""
        return (self.data_folder / "blockstore.db").exists() or (self.data_folder / "state.db").exists()

    def node_id(self) -> str:
        """The name by which peers know this node, 40 hex digits; its key is made at the first call.

        Raises:
            ConfigurationError: The key file holds no key.
            OSError: It cannot be read or written.
        """
        if not self.node_key.exists():
            _, secret = crypto_sign_seed_keypair(os.urandom(_SEED_BYTES))
            value = base64.b64encode(secret).decode()
            document = {"priv_key": {"type": _NODE_KEY_TYPE, "value": value}}
            write_whole(self.node_key, json.dumps(document) + "\n", 0o600)
        try:
            secret = base64.b64decode(json.loads(self.node_key.read_bytes())["priv_key"]["value"], validate=True)
            if crypto_sign_seed_keypair(secret[:_SEED_BYTES])[1] != secret:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(
                f"{self.node_key} holds no node key: put it back from a backup, or remove it to get a new one"
            ) from None
        return sha256(secret[_SEED_BYTES:]).digest()[:_NODE_ID_BYTES].hex()

    def read_genesis(self) -> GenesisFile:
        """The genesis file; raises ConfigurationError."""
        return read_genesis(self.genesis)

    def found(self, chain_id: str, parameters: ChainParameters, time: int) -> bool:
        """Unless there is a genesis file, write that of a chain with this node as its only validator."""
        if self.founded:
            return False
        key = load_or_make_key(self.config_folder)
        self._write_genesis(GenesisFile(chain_id, time, (Validator(key.public, POWER),), Genesis(parameters)))
        return True

    def install_genesis(self, text: bytes, place: str) -> bool:
        """Take a genesis file as it is, byte for byte; whether anything changed.

        Raises:
            ConfigurationError: It is no genesis file, or the engine keeps another chain here.
            OSError: It cannot be written.
        """
        genesis = parse_genesis(text, place)
        if self.founded:
            if self.genesis.read_bytes() == text:
                return False
            if self.has_blocks:
                raise ConfigurationError(
                    f"{self.path} belongs to the chain `{self.read_genesis().chain_id}` and has blocks of it: it "
                    f"cannot go over to `{genesis.chain_id}`. Use another data folder for that chain."
                )
        write_whole(self.genesis, text.decode("utf-8"))
        self._awaited.unlink(missing_ok=True)
        return True

    def begin_anew(self, genesis: GenesisFile) -> None:
        """Make the home one of a chain that follows on the present one: keys, peers and settings stay.

        The engine must not run. What it kept of the old chain is put aside as `data-<name of the old chain>`.
        Done in an order in which every interrupted call is completed by the next one.

        Raises:
            ConfigurationError: The genesis file here cannot be read.
            OSError: Something cannot be written.
        """
        old = self.read_genesis().chain_id if self.founded else genesis.chain_id
        if old != genesis.chain_id:
            # A name may hold anything; a folder beside ours has one word.
            aside = self.path / f"data-{re.sub(r'[^A-Za-z0-9._-]', '_', old)}"
            if aside.exists():
                # An earlier call was interrupted; what the old engine may have begun since then is worth nothing.
                shutil.rmtree(self.data_folder, ignore_errors=True)
            elif self.data_folder.exists():
                self.data_folder.rename(aside)
                sync_folder(self.path)
        self.data_folder.mkdir(mode=0o700, exist_ok=True)
        if not self.sign_state.exists():
            # The engine's heights begin again at 1, so nothing of the new chain was signed yet.
            write_whole(self.sign_state, json.dumps(_FRESH_SIGN_STATE, indent=2) + "\n", 0o600)
        write_config(self.config, state_sync_values(None))
        self._write_genesis(genesis)

    def add_peers(self, peers: tuple[str, ...]) -> None:
        """Add peers to those that the engine keeps connections to; raises ConfigurationError, OSError."""
        check_peers(peers)
        known = str(read_config(self.config).get("p2p", {}).get("persistent_peers", ""))
        every = list(dict.fromkeys([*(one for one in known.split(",") if one), *peers]))
        values: dict[str, Value] = {"persistent_peers": ",".join(every)}
        write_config(self.config, {"p2p": values})

    def set_state_sync(self, sync: StateSync | None) -> None:
        """Turn state sync on or off; raises ConfigurationError, OSError."""
        write_config(self.config, state_sync_values(sync))

    def _write_genesis(self, genesis: GenesisFile) -> None:
        text = genesis.to_text()
        if not self.founded or self.genesis.read_text(encoding="utf-8") != text:
            write_whole(self.genesis, text)


def check_peers(peers: tuple[str, ...]) -> None:
    """Raises ConfigurationError for what is no `id@host:port`."""
    for peer in peers:
        if _PEER.fullmatch(peer) is None:
            raise ConfigurationError(
                f"`{peer}` is no peer: write ID@HOST:PORT, where ID is the node id of 40 hex digits that "
                "`planetmint network show` prints there"
            )


def open_home(settings: Settings, *, make: bool, join: bool = False) -> EngineHome:
    """The engine's home as the settings want it, ready for the engine to start there.

    Args:
        settings: Where it is, and what the engine listens on.
        make: Whether it is made, and a chain founded, where there is none.
        join: Whether the genesis file comes from others: then none is made.

    Raises:
        ConfigurationError: There is none, it cannot be used, or it waits for its genesis file.
    """
    home = EngineHome(settings.engine_home)
    if not make and not home.founded and not home.awaits_genesis:
        raise ConfigurationError(
            f"There is no home of the engine in {home.path} yet. Run `planetmint init`, or start without "
            "--no-init."
        )
    try:
        home.prepare(engine_addresses(settings), follow=settings.engine_managed)
        if join:
            home.await_genesis()
        elif home.awaits_genesis:
            raise ConfigurationError(
                f"{home.path} waits for the genesis file of its network: "
                "`planetmint network join --genesis FILE --peer ID@HOST:PORT` brings it"
            )
        elif not home.founded:
            parameters = founding_parameters(settings)
            name = settings.chain.id or f"planetmint-{os.urandom(4).hex()}"
            home.found(name, parameters, SystemClock().now() // 1_000_000 * 1_000_000)
            _log.info(f"A chain of one validator was founded: {name}")
    except OSError as error:
        raise ConfigurationError(
            f"cannot use the engine's home `{home.path}` ({error.strerror}). Make it writable, or set "
            "tendermint.home to another folder."
        ) from None
    return home


def take_genesis(home: EngineHome, text: bytes, place: str, settings: Settings) -> None:
    """Give a home the genesis file of others, where this machine can follow its chain.

    Raises:
        ConfigurationError: See `EngineHome.install_genesis`; or the contracts of the chain need an engine that
            this machine does not have.
        OSError: It cannot be written.
    """
    require_engine(parse_genesis(text, place).app.parameters, settings)
    home.install_genesis(text, place)
