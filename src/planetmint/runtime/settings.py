# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every setting of the node: its type, its bounds, its default and what it does.

One field is one setting; docs/configuration.md is generated from this module, so a description here is what
operators read. Where values come from is the business of `planetmint.runtime.settings_sources`.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, cast

from msgspec import Meta, Struct, field, to_builtins

from planetmint.model.json import JsonValue
from planetmint.model.parameters import ChainParameters, ContractParameters, ScriptMode, ZenroomMode

LEVELS = ("debug", "benchmark", "info", "warning", "error", "critical")
"""Names of log levels that are taken, in any letter case."""

LEVEL_ALIASES = {"benchmark": "info"}
"""Levels of the old servers, and what they mean here."""

MASK = "********"
"""What stands for a password wherever the configuration is shown."""

LONGEST_SOCKET_PATH = 100
"""Bytes of a Unix socket's path that every system takes."""

LEDGER_FILE = "ledger.db"
"""The database file in the data folder where `database.path` names no other."""

Level = Literal["debug", "info", "warning", "error", "critical"]
Backend = Literal["sqlite", "tarantool_db"]
Engine = Literal["solo", "cometbft"]
Scheme = Literal["ws", "wss"]
BlockView = Literal["auto", "heights", "block"]

Amount = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1_024)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Text = Annotated[str, Meta(min_length=1)]
HostPort = Annotated[str, Meta(title="`host:port`", pattern=r"^(\[[^\[\]\s]+\]|[^\[\]:\s/]+):[0-9]{1,5}$")]
Peers = Annotated[
    str,
    Meta(
        title="`id@host:port`, separated by commas",
        pattern=r"^([0-9a-f]{40}@(\[[^\[\]\s]+\]|[^\[\]:\s/@,]+):[0-9]{1,5}(,|$))*$",
    ),
]
Address = Annotated[str, Meta(title="`host:port`", pattern=r"^(\[[^\[\]\s]+\]|[^\[\]:\s/]*):[0-9]{1,5}$")]
ChainName = Annotated[
    str,
    Meta(title="1 to 50 letters, digits, `.`, `_` or `-`", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$"),
]

_DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
_LINE_FORMAT = "[%(asctime)s] [%(levelname)s] (%(name)s) %(message)s (%(processName)-10s - pid: %(process)d)"


class ConfigurationError(Exception):
    """A setting that the node cannot work with; the message is one line: what, where, and what to do."""


def about(text: str) -> Meta:
    """What a setting does, as the reference shows it."""
    return Meta(description=text)


class ServerSettings(Struct, frozen=True, kw_only=True):
    """The Web API: where it listens and how."""

    bind: Annotated[Address, about("Address and port: `localhost:9984`, `0.0.0.0:9984`, `[::]:9984`.")] = (
        "localhost:9984"
    )
    loglevel: Annotated[Level, about("Level of the web server's own log.")] = "info"
    workers: Annotated[
        Count | None, about("Taken from files of the old servers without effect: one process serves the Web API.")
    ] = None
    threads: Annotated[Count | None, about("Threads that check signatures; null: one per processor.")] = None
    graceful_timeout: Annotated[
        Amount, about("Seconds that requests under way get to finish when the node stops.")
    ] = 10
    certfile: Annotated[Text | None, about("Certificate chain (PEM); with `keyfile`, serves HTTPS.")] = None
    keyfile: Annotated[Text | None, about("Private key of the certificate (PEM).")] = None

    @property
    def address(self) -> tuple[str, int]:
        """Host (without brackets; empty for every interface) and port that `bind` names."""
        host, _, port = self.bind.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)


class WsServerSettings(Struct, frozen=True, kw_only=True):
    """The event stream: where it listens, what the Web API tells clients about it, and its bounds."""

    scheme: Annotated[
        Scheme, about("`wss` speaks TLS here if there are `certfile` and `keyfile`; else TLS is a proxy's work.")
    ] = "ws"
    host: Annotated[Text, about("Host name or address to listen on.")] = "localhost"
    port: Annotated[Port, about("Port to listen on.")] = 9985
    advertised_scheme: Annotated[Scheme, about("Scheme in the URLs that the Web API shows.")] = "ws"
    advertised_host: Annotated[Text, about("Host in the URLs that the Web API shows.")] = "localhost"
    advertised_port: Annotated[Port, about("Port in the URLs that the Web API shows.")] = 9985
    max_connections: Annotated[
        Count, about("Subscribers at the same time; one more is answered 503 with `Retry-After`.")
    ] = 20_000
    ping_interval: Annotated[Seconds, about("Seconds between pings; who misses two is disconnected.")] = 30.0
    max_message_bytes: Annotated[
        Annotated[int, Meta(ge=125)],
        about("Longest message from a client (it is thrown away); longer: close 1009."),
    ] = 65_536
    stall_timeout: Annotated[
        Seconds, about("Seconds after which a client whose socket takes nothing is closed with 1013.")
    ] = 30.0
    certfile: Annotated[Text | None, about("Certificate chain (PEM).")] = None
    keyfile: Annotated[Text | None, about("Private key of the certificate (PEM).")] = None

    @property
    def advertised_url(self) -> str:
        """Scheme, host and port that clients are told, without a path (event-stream ES-4)."""
        return f"{self.advertised_scheme}://{self.advertised_host}:{self.advertised_port}"


class TendermintSettings(Struct, frozen=True, kw_only=True):
    """The consensus engine CometBFT, once Tendermint; not used by `consensus.engine=solo`."""

    host: Annotated[
        Text, about("Host of the engine's RPC; a managed engine listens there (`0.0.0.0`: on every interface).")
    ] = "localhost"
    port: Annotated[Port, about("Port of the engine's RPC.")] = 26657
    version: Annotated[str, about("The engine's version; for information only.")] = "v0.38.26"
    p2p_host: Annotated[Text, about("Address on which a managed engine meets its peers.")] = "0.0.0.0"
    p2p_port: Annotated[Port, about("Port on which a managed engine meets its peers.")] = 26656
    external_address: Annotated[
        HostPort | None,
        about("Where peers find a managed engine, if not where it listens (behind a router); null: it finds out."),
    ] = None
    persistent_peers: Annotated[
        Peers | None,
        about(
            "Nodes that a managed engine keeps connections to, in the environment too with commas between them; "
            "null: those that `planetmint network join` wrote into the engine's home."
        ),
    ] = None
    program: Annotated[
        Text | None,
        about("The engine's program; null: `cometbft` beside the node's Python, else on the path."),
    ] = None
    home: Annotated[
        Text | None,
        about(
            "Home folder of an engine that is managed, or runs beside the node; null: `cometbft` in `data.dir`."
        ),
    ] = None


class SqliteSettings(Struct, frozen=True, kw_only=True):
    """The built-in database: one file, no service."""

    backend: Annotated[Literal["sqlite"], about("The storage backend.")] = "sqlite"
    path: Annotated[Text | None, about(f"The database file; null: `{LEDGER_FILE}` in `data.dir`.")] = None


class TarantoolSettings(Struct, frozen=True, kw_only=True):
    """A Tarantool server, started and looked after by the node or run by somebody else."""

    backend: Annotated[Literal["tarantool_db"], about("The storage backend.")] = "tarantool_db"
    host: Annotated[Text, about("Host of the server.")] = "localhost"
    port: Annotated[Port, about("Port of the server.")] = 3303
    name: Annotated[Text, about("Name of the database.")] = "universe"
    login: Annotated[str | None, about("User name; null: `guest`.")] = "guest"
    password: Annotated[str | None, about("Password of that user; never shown.")] = ""
    connection_timeout: Annotated[Count, about("Milliseconds that connecting may take.")] = 5000
    max_tries: Annotated[Amount, about("Attempts to connect; 0: for ever.")] = 3
    reconnect_delay: Annotated[Annotated[float, Meta(ge=0)], about("Seconds between two attempts.")] = 0.5
    managed: Annotated[
        bool | None, about("Start and supervise the server as a child; null: where `host` is this machine.")
    ] = None
    socket: Annotated[
        Text | None,
        about(
            "Unix socket of the server instead of host and port; null: a managed server makes one in its folder, "
            "unless that folder's name is too long for one."
        ),
    ] = None
    program: Annotated[Text, about("Program of a managed server.")] = "tarantool"
    memory: Annotated[
        Annotated[int, Meta(ge=67_108_864)],
        about(
            "Bytes that the rows and indexes of a managed server may take; 1 GB holds about a million small "
            "transactions."
        ),
    ] = 2_147_483_648
    data: Annotated[Text | None, about("Folder of a managed server; null: `tarantool` in `data.dir`.")] = None


DatabaseSettings = SqliteSettings | TarantoolSettings


class LogSettings(Struct, frozen=True, kw_only=True):
    """What is logged, where, and in which form. The console is stderr."""

    file: Annotated[
        Text | None, about("Log file, rotated at 209,715,200 bytes with 5 old ones kept; null: none.")
    ] = None
    error_file: Annotated[Text | None, about("The same for messages of level ERROR and above; null: none.")] = None
    level_console: Annotated[Level, about("Least level on the console.")] = "info"
    level_logfile: Annotated[Level, about("Least level in `file`.")] = "info"
    datefmt_console: Annotated[str, about("Form of times on the console (as for strftime).")] = _DATE_FORMAT
    datefmt_logfile: Annotated[str, about("Form of times in the files (as for strftime).")] = _DATE_FORMAT
    fmt_console: Annotated[str, about("Form of a line on the console (as for Python's logging).")] = _LINE_FORMAT
    fmt_logfile: Annotated[str, about("Form of a line in the files (as for Python's logging).")] = _LINE_FORMAT
    granular_levels: Annotated[
        dict[str, Level],
        about(
            'Least level of single loggers: `{"planetmint.http": "debug"}`; '
            "in the environment `planetmint.http=debug:uvicorn=error`."
        ),
    ] = field(default_factory=dict)


class ApiSettings(Struct, frozen=True, kw_only=True):
    """Behaviour and bounds of the Web API."""

    block_by_transaction: Annotated[
        BlockView,
        about(
            "Form of the answer to `GET /blocks?transaction_id=`: `heights` (BigchainDB), `block` (Planetmint 2) "
            "or `auto`, which follows the transaction's version."
        ),
    ] = "auto"
    max_body_bytes: Annotated[Bytes, about("Longest body with one transaction; a longer one: 413.")] = 1_048_576
    bulk_max_lines: Annotated[Count, about("Most transactions in one bulk request; more: 413.")] = 10_000
    bulk_max_bytes: Annotated[Bytes, about("Longest body of a bulk request; a longer one: 413.")] = 67_108_864


class AbciSettings(Struct, frozen=True, kw_only=True):
    """Where the node listens for the consensus engine; not used by `consensus.engine=solo`."""

    host: Annotated[Text, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, about("Port to listen on.")] = 26658
    socket: Annotated[
        Text | None,
        about(
            "Unix socket to listen on instead; null: `abci.sock` in `data.dir` for a managed engine, unless that "
            "folder's name is too long for one, and host and port for an outside engine."
        ),
    ] = None


def default_data_folder(environ: Mapping[str, str] | None = None, platform: str | None = None) -> str:
    """`planetmint` in the user's data folder of the platform."""
    environ = os.environ if environ is None else environ
    home = environ.get("HOME") or os.path.expanduser("~")
    if (platform or sys.platform) == "darwin":
        return str(Path(home, "Library", "Application Support", "planetmint"))
    # The XDG rules: a relative path there is to be ignored.
    shared = environ.get("XDG_DATA_HOME", "")
    base = Path(shared) if os.path.isabs(shared) else Path(home, ".local", "share")
    return str(base / "planetmint")


class DataSettings(Struct, frozen=True, kw_only=True):
    """Where the node keeps everything that it writes."""

    dir: Annotated[
        Text,
        about(
            "Folder of the database file, the validator key and the node's other files. Default: `planetmint` in "
            "the user's data folder, which is `$XDG_DATA_HOME` or `~/.local/share` (macOS: "
            "`~/Library/Application Support`)."
        ),
    ] = field(default_factory=default_data_folder)

    @property
    def path(self) -> Path:
        """The folder as an absolute path; it may not exist yet."""
        return Path(self.dir).expanduser().absolute()


class ConsensusSettings(Struct, frozen=True, kw_only=True):
    """What orders transactions into blocks."""

    engine: Annotated[
        Engine,
        about(
            "`solo`: this process makes the blocks; `cometbft`: a network of nodes does. Where nothing "
            "is set: `cometbft` for a Tarantool database, as on the old servers, else `solo`."
        ),
    ] = "solo"
    managed: Annotated[
        bool | None,
        about("Start and supervise the engine as a child; null: where `tendermint.host` is this machine."),
    ] = None
    snapshot_interval: Annotated[
        Amount,
        about(
            "Blocks from one snapshot of the ledger, offered by `cometbft` nodes to those that join, to the next; "
            "0: none are made."
        ),
    ] = 1000


class SandboxSettings(Struct, frozen=True, kw_only=True):
    """How this node runs contracts. These bounds are the node's own, and no verdict depends on them."""

    program: Annotated[
        Text | None,
        about(
            "A `zencode-exec` program, built for glibc, to run contracts with; null: the engine of the Python "
            "package `zenroom`, where that is installed. The chain's parameters name the engine that all its "
            "nodes use."
        ),
    ] = None
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None,
        about("Contracts that run at the same time; null: one per processor, 4 at most."),
    ] = None
    seconds: Annotated[
        Annotated[float, Meta(ge=0.05, le=3_600)],
        about("Processor seconds of one run when a transaction asks to be taken; in a proposed block four times."),
    ] = 1.0
    memory_bytes: Annotated[
        Annotated[int, Meta(ge=33_554_432)],
        about("Memory of one run when a transaction asks to be taken; in a proposed block twice that."),
    ] = 268_435_456
    output_bytes: Annotated[
        Annotated[int, Meta(ge=65_536, le=67_108_864)],
        about(
            "Longest result of one run when a transaction asks to be taken, and in a proposed block; in a decided "
            "block 64 MiB on every node."
        ),
    ] = 1_048_576


class ContractSettings(Struct, frozen=True, kw_only=True):
    """Contracts of a new chain."""

    zenroom: Annotated[
        ZenroomMode | None,
        about(
            "Zenroom conditions: `bound`: a contract restricts owners, who sign; `published`: as the old servers, "
            "anybody may satisfy one; `off`: refused. Null: `bound` if this machine has a contract engine."
        ),
    ] = None
    scripts: Annotated[
        ScriptMode | None,
        about("Scripts of version 3.0; null: `on` if this machine has a contract engine, else `off`."),
    ] = None
    max_bytes: Annotated[int, Meta(ge=1, le=1_000_000), about("Longest script.")] = 16_384
    max_data_bytes: Annotated[int, Meta(ge=1, le=1_000_000), about("Longest data and keys together.")] = 100_000
    max_statements: Annotated[int, Meta(ge=1, le=100_000), about("Most statements of a script.")] = 200
    max_number: Annotated[int, Meta(ge=1, le=10_000_000), about("Highest number that sets a count or size.")] = (
        10_000
    )
    max_per_block: Annotated[int, Meta(ge=1, le=100_000), about("Most contracts in one block.")] = 200


class ChainSettings(Struct, frozen=True, kw_only=True):
    """Parameters of a new chain, fixed when it is founded at the first start; without effect later."""

    id: Annotated[ChainName | None, about("Name of the chain; null: one is made.")] = None
    max_transaction_bytes: Annotated[
        int, Meta(ge=1_024, le=1_000_000), about("Longest transaction in canonical form.")
    ] = 700_000
    max_json_depth: Annotated[int, Meta(ge=16, le=400), about("Deepest nesting of arrays and objects.")] = 400
    max_number_digits: Annotated[int, Meta(ge=20, le=308), about("Most digits of a number.")] = 308
    max_inputs: Annotated[int, Meta(ge=1, le=10_000), about("Most inputs of a transaction.")] = 1_000
    max_outputs: Annotated[int, Meta(ge=1, le=10_000), about("Most outputs of a transaction.")] = 1_000
    max_condition_depth: Annotated[int, Meta(ge=1, le=64), about("Deepest nesting of thresholds.")] = 16
    max_condition_leaves: Annotated[int, Meta(ge=1, le=10_000), about("Most leaves of one condition.")] = 1_000
    contracts: ContractSettings = field(default_factory=ContractSettings)

    def parameters(self, engine: str | None = None) -> ChainParameters:
        """The founding parameters that these settings ask for.

        Args:
            engine: Name of this machine's contract engine; without one, contracts are off where nothing is set.
        """
        asked = self.contracts
        contracts = ContractParameters(
            zenroom=asked.zenroom or ("bound" if engine else "off"),
            scripts=asked.scripts or ("on" if engine else "off"),
            max_bytes=asked.max_bytes,
            max_data_bytes=asked.max_data_bytes,
            max_statements=asked.max_statements,
            max_number=asked.max_number,
            max_per_block=asked.max_per_block,
        )
        return ChainParameters(
            max_transaction_bytes=self.max_transaction_bytes,
            max_json_depth=self.max_json_depth,
            max_number_digits=self.max_number_digits,
            max_inputs=self.max_inputs,
            max_outputs=self.max_outputs,
            max_condition_depth=self.max_condition_depth,
            max_condition_leaves=self.max_condition_leaves,
            contracts=replace(contracts, engine=engine if contracts.on else None),
        )


class Settings(Struct, frozen=True, kw_only=True):
    """The effective configuration, by sections."""

    server: ServerSettings = field(default_factory=ServerSettings)
    wsserver: WsServerSettings = field(default_factory=WsServerSettings)
    tendermint: TendermintSettings = field(default_factory=TendermintSettings)
    database: DatabaseSettings = field(default_factory=SqliteSettings)
    log: LogSettings = field(default_factory=LogSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    abci: AbciSettings = field(default_factory=AbciSettings)
    data: DataSettings = field(default_factory=DataSettings)
    consensus: ConsensusSettings = field(default_factory=ConsensusSettings)
    contracts: SandboxSettings = field(default_factory=SandboxSettings)
    chain: ChainSettings = field(default_factory=ChainSettings)

    @property
    def database_path(self) -> Path:
        """The SQLite file, absolute. Raises ConfigurationError where the database is not a file."""
        if not isinstance(self.database, SqliteSettings):
            raise ConfigurationError(f"database.backend is {self.database.backend}, which is not a file")
        if self.database.path is None:
            return self.data.path / LEDGER_FILE
        return Path(self.database.path).expanduser().absolute()

    @property
    def engine_managed(self) -> bool:
        """Whether this node starts and looks after a CometBFT."""
        if self.consensus.engine != "cometbft":
            return False
        managed = self.consensus.managed
        return is_this_machine(self.tendermint.host) if managed is None else managed

    @property
    def engine_home_kept(self) -> bool:
        """Whether commands make and change an engine's home here: a managed one's, or that of one beside it."""
        engine = self.tendermint
        beside = engine.home is not None or is_this_machine(engine.host)
        return self.consensus.engine == "cometbft" and (self.engine_managed or beside)

    @property
    def database_managed(self) -> bool:
        """Whether this node starts and looks after a Tarantool."""
        if not isinstance(self.database, TarantoolSettings):
            return False
        managed = self.database.managed
        return is_this_machine(self.database.host) if managed is None else managed

    @property
    def engine_home(self) -> Path:
        """Home folder of a managed engine, absolute."""
        return _folder(self.tendermint.home, self.data.path / "cometbft")

    @property
    def database_folder(self) -> Path:
        """Folder of a managed Tarantool, absolute. Raises ConfigurationError where the database is a file."""
        if not isinstance(self.database, TarantoolSettings):
            raise ConfigurationError(f"database.backend is {self.database.backend}, which has no folder")
        return _folder(self.database.data, self.data.path / "tarantool")

    @property
    def database_socket(self) -> Path | None:
        """Unix socket of Tarantool; None where host and port count."""
        if not isinstance(self.database, TarantoolSettings):
            return None
        if self.database.socket is not None:
            return Path(self.database.socket).expanduser().absolute()
        return _socket(self.database_folder / "tarantool.sock") if self.database_managed else None

    @property
    def abci_url(self) -> str:
        """Where the node listens for the engine: `unix:///path` or `tcp://host:port`."""
        if self.abci.socket is not None:
            return f"unix://{Path(self.abci.socket).expanduser().absolute()}"
        socket = _socket(self.data.path / "abci.sock") if self.engine_managed else None
        return f"unix://{socket}" if socket else f"tcp://{bracketed(self.abci.host)}:{self.abci.port}"

    def to_json(self) -> dict[str, JsonValue]:
        """The settings as a JSON object by sections, with secrets."""
        return cast(dict[str, JsonValue], to_builtins(self))

    def to_public_json(self) -> dict[str, JsonValue]:
        """As `to_json`, with a mask in place of a password that is not empty."""
        document = self.to_json()
        database = cast(dict[str, JsonValue], document["database"])
        if database.get("password"):
            database["password"] = MASK
        return document


def is_this_machine(host: str) -> bool:
    """Whether a host is the one on which the node runs, as far as its name tells."""
    name = host.removeprefix("[").removesuffix("]").lower()
    if name in ("localhost", "0.0.0.0", "::"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """A host as it stands before `:port`."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _folder(named: str | None, default: Path) -> Path:
    return default if named is None else Path(named).expanduser().absolute()


def _socket(path: Path) -> Path | None:
    return path if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH else None
