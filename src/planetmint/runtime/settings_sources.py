# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where settings come from: the `-l` flag, the environment, the configuration file, the defaults, in this order.

Files of BigchainDB 2.x and Planetmint are read as they are; what this node does not know is named in a warning and
otherwise ignored. Source: cli-and-config 3.1.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar, cast

import msgspec
from msgspec import Struct

from planetmint.runtime.settings import (
    LEVEL_ALIASES,
    LEVELS,
    AbciSettings,
    ApiSettings,
    ChainSettings,
    ConfigurationError,
    ConsensusSettings,
    DatabaseSettings,
    DataSettings,
    Level,
    LogSettings,
    SandboxSettings,
    ServerSettings,
    Settings,
    SqliteSettings,
    TarantoolSettings,
    TendermintSettings,
    WsServerSettings,
    default_data_folder,
)
from planetmint.runtime.settings_schema import (
    BACKENDS,
    PREFIX,
    SECTIONS,
    Setting,
    UnfitValue,
    from_json,
    from_text,
    settings_of,
)

CONFIG_PATH_VARIABLE = f"{PREFIX}_CONFIG_PATH"
BACKEND_VARIABLE = f"{PREFIX}_DATABASE_BACKEND"
DEFAULT_FILE = ".planetmint"
"""The configuration file in the home folder that is read where no other is named."""

_INTERNAL = frozenset({"CONFIGURED"})
"""Members that old servers write for themselves."""

_FOREIGN_BACKEND = "localmongodb"
_OF_A_SERVER = frozenset({"host", "port"})
"""Keys by which a database section without a backend is known to be one of the old servers'."""

JsonObject = dict[str, object]
Section = TypeVar("Section", bound=Struct)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was loaded.

    Attributes:
        settings: The effective settings.
        path: The file that was looked for.
        found: Whether it was there.
        warnings: One line each, for the operator.
    """

    settings: Settings
    path: Path
    found: bool
    warnings: tuple[str, ...]

    @property
    def missing_file(self) -> str:
        """What to say where the file was not there."""
        return f"Cannot find config file `{self.path}`: going on with environment and defaults"


@dataclass(slots=True)
class _Sources:
    """What the settings are made from, and what turned up on the way."""

    path: Path
    document: JsonObject
    environ: Mapping[str, str]
    used: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    def member(self, name: str) -> JsonObject:
        """A section of the file; empty where there is none."""
        value = self.document.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ConfigurationError(f"`{name}` in the configuration file `{self.path}` must be an object.")
        return value


def config_path(flag: str | None, environ: Mapping[str, str]) -> Path:
    """The file to read: `-c`, else the variable, else the default in the home folder."""
    named = flag or environ.get(CONFIG_PATH_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(environ.get("HOME") or Path.home()) / DEFAULT_FILE


def load_settings(
    environ: Mapping[str, str], *, config: str | None = None, log_level: str | None = None
) -> Configuration:
    """Put the settings together.

    Args:
        environ: The environment.
        config: What `-c` names; it must be there then.
        log_level: What `-l` says, any letter case; wins over every other source for the three general levels.

    Raises:
        ConfigurationError: A file that is missing or not JSON, a value that does not fit.
    """
    path = config_path(config, environ)
    document = _read(path, must_exist=config is not None)
    sources = _Sources(path, document or {}, environ)
    settings = _assemble(sources)
    _check(settings)
    _warn_of_strangers(sources)
    if log_level is not None:
        settings = with_log_level(settings, log_level)
    return Configuration(settings, path, document is not None, tuple(sources.warnings))


def with_log_level(settings: Settings, name: str) -> Settings:
    """The settings with one level for console, file and web server.

    Raises:
        ConfigurationError: There is no such level.
    """
    level = name.lower()
    if level not in LEVELS:
        raise ConfigurationError(f"The log level must be one of {', '.join(LEVELS).upper()}, not `{name}`.")
    known = cast(Level, LEVEL_ALIASES.get(level, level))
    return msgspec.structs.replace(
        settings,
        log=msgspec.structs.replace(settings.log, level_console=known, level_logfile=known),
        server=msgspec.structs.replace(settings.server, loglevel=known),
    )


def _read(path: Path, *, must_exist: bool) -> JsonObject | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if must_exist:
            raise ConfigurationError(
                f"Cannot find the configuration file `{path}`. `planetmint -c {path} configure` writes one."
            ) from None
        return None
    except OSError as error:
        raise ConfigurationError(f"Cannot read the configuration file `{path}`: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        _unreadable(path, f"not UTF-8 at byte {error.start}")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        _unreadable(path, "nested too deep" if isinstance(error, RecursionError) else str(error))
    if not isinstance(document, dict):
        _unreadable(path, "the file must hold one JSON object")
    return document


def _unreadable(path: Path, reason: str) -> NoReturn:
    raise ConfigurationError(f"Failed to parse the JSON configuration from `{path}`, {reason}")


def _assemble(sources: _Sources) -> Settings:
    database = _database(sources)
    consensus = _section(ConsensusSettings, "consensus", sources)
    if "consensus.engine" not in sources.named and isinstance(database, TarantoolSettings):
        # The old servers knew no such setting: with Tarantool they ran beside the engine.
        consensus = msgspec.structs.replace(consensus, engine="cometbft")
    data = _section(DataSettings, "data", sources)
    if "data.dir" not in sources.named:
        data = msgspec.structs.replace(data, dir=default_data_folder(sources.environ))
    return Settings(
        server=_section(ServerSettings, "server", sources),
        wsserver=_section(WsServerSettings, "wsserver", sources),
        tendermint=_section(TendermintSettings, "tendermint", sources),
        database=database,
        log=_section(LogSettings, "log", sources),
        api=_section(ApiSettings, "api", sources),
        abci=_section(AbciSettings, "abci", sources),
        data=data,
        consensus=consensus,
        contracts=_section(SandboxSettings, "contracts", sources),
        chain=_section(ChainSettings, "chain", sources),
    )


def _section(section: type[Section], name: str, sources: _Sources) -> Section:
    return _build(section, name, sources.member(name), sources)


def _database(sources: _Sources) -> DatabaseSettings:
    given = sources.member("database")
    in_file = _backend_of_file(given, sources)
    chosen = sources.environ.get(BACKEND_VARIABLE, "").strip().lower()
    if not chosen:
        return _database_of(in_file or "sqlite", given if in_file else {}, sources)
    if chosen not in BACKENDS:
        raise ConfigurationError(f"{BACKEND_VARIABLE} must be {' or '.join(BACKENDS)}, not `{chosen}`.")
    if in_file is not None and in_file != chosen:
        sources.warnings.append(
            f"`database` in `{sources.path}` is for `{in_file}` and ignored: {BACKEND_VARIABLE} is `{chosen}`."
        )
        given = {}
    return _database_of(chosen, given, sources)


def _database_of(backend: str, given: JsonObject, sources: _Sources) -> DatabaseSettings:
    sources.used.add(BACKEND_VARIABLE)
    section = {name: value for name, value in given.items() if name != "backend"}
    if backend == "sqlite":
        return _build(SqliteSettings, "database", section, sources)
    return _build(TarantoolSettings, "database", section, sources)


def _backend_of_file(given: JsonObject, sources: _Sources) -> str | None:
    """The backend that the file's section is for; None for no section, or one that is of no use here."""
    backend = given.get("backend")
    if backend is None:
        if not given:
            return None
        return "tarantool_db" if _OF_A_SERVER & given.keys() else "sqlite"
    if backend == _FOREIGN_BACKEND:
        sources.warnings.append(
            f"`database` in `{sources.path}` is for MongoDB (`{_FOREIGN_BACKEND}`), which this node does not use: "
            "it is ignored, and nothing is read from there."
        )
        return None
    if not isinstance(backend, str) or backend.lower() not in BACKENDS:
        raise ConfigurationError(
            f"database.backend in `{sources.path}` must be {' or '.join(BACKENDS)}, not `{backend}`."
        )
    return backend.lower()


def _build(section: type[Section], name: str, given: JsonObject, sources: _Sources) -> Section:
    values: JsonObject = {}
    known = settings_of(section, (name,))
    for setting in known:
        if setting.name == "database.backend":
            continue
        if setting.variable in sources.environ:
            _place(values, setting, _of_environment(setting, sources))
            sources.named.add(setting.name)
        elif _holds(given, setting.path[1:], name, sources):
            _place(values, setting, _of_file(setting, given, sources))
            sources.named.add(setting.name)
    _warn_of_keys(name, given, {setting.path[1:] for setting in known}, sources)
    return msgspec.convert(values, section)


def _place(values: JsonObject, setting: Setting, value: object) -> None:
    *parents, last = setting.path[1:]
    for parent in parents:
        values = cast(JsonObject, values.setdefault(parent, {}))
    values[last] = value


def _of_environment(setting: Setting, sources: _Sources) -> object:
    sources.used.add(setting.variable)
    try:
        return from_text(setting, sources.environ[setting.variable])
    except UnfitValue as error:
        raise ConfigurationError(f"{setting.variable} {error}.") from None


def _of_file(setting: Setting, given: JsonObject, sources: _Sources) -> object:
    value: object = given
    for key in setting.path[1:]:
        value = cast(JsonObject, value)[key]
    try:
        return from_json(setting, value)
    except UnfitValue as error:
        raise ConfigurationError(f"{setting.name} in `{sources.path}` {error}.") from None


def _holds(given: JsonObject, keys: tuple[str, ...], section: str, sources: _Sources) -> bool:
    value: object = given
    for depth, key in enumerate(keys):
        if not isinstance(value, dict):
            name = ".".join((section, *keys[:depth]))
            raise ConfigurationError(f"`{name}` in the configuration file `{sources.path}` must be an object.")
        if key not in value:
            return False
        value = value[key]
    return True


def _warn_of_keys(section: str, given: JsonObject, known: set[tuple[str, ...]], sources: _Sources) -> None:
    sections = {keys[:depth] for keys in known for depth in range(1, len(keys))}
    strangers = [".".join(keys) for keys in _strangers(given, (), known, sections)]
    if not strangers:
        return
    names = ", ".join(f"`{name}`{_hint(name, ['.'.join(keys) for keys in known])}" for name in strangers)
    verb = "is no setting" if len(strangers) == 1 else "are no settings"
    sources.warnings.append(f"`{section}` in `{sources.path}`: {names} {verb} of this node; ignored.")


def _strangers(
    given: JsonObject, path: tuple[str, ...], known: set[tuple[str, ...]], sections: set[tuple[str, ...]]
) -> Iterator[tuple[str, ...]]:
    for name, value in given.items():
        here = (*path, name)
        if here in sections and isinstance(value, dict):
            yield from _strangers(value, here, known, sections)
        elif here not in known:
            yield here


def _warn_of_strangers(sources: _Sources) -> None:
    """Name what nobody looked at: sections of the file, and variables that look like settings."""
    sections = {*SECTIONS, "database"}
    for name in sources.document.keys() - sections - _INTERNAL:
        if name == "validation_plugin":
            sources.warnings.append(
                f"`validation_plugin` in `{sources.path}` is ignored: this node takes no rules from plugins."
            )
        else:
            sources.warnings.append(
                f"`{name}`{_hint(name, sorted(sections))} in `{sources.path}` is no section of this node; ignored."
            )
    variables = [setting.variable for setting in _every_setting()]
    prefixes = tuple(f"{PREFIX}_{section}_".upper() for section in sections)
    for variable in sorted(sources.environ.keys() - sources.used):
        if variable in variables:
            sources.warnings.append(f"{variable} has no effect: it belongs to another database backend.")
        elif variable.startswith(prefixes):
            sources.warnings.append(f"{variable}{_hint(variable, variables)} is no setting of this node; ignored.")
    if any(variable.startswith("BIGCHAINDB_") for variable in sources.environ):
        sources.warnings.append(f"Variables BIGCHAINDB_... are not read; the same names with {PREFIX}_ are.")


def _every_setting() -> Iterator[Setting]:
    for name, section in SECTIONS.items():
        yield from settings_of(section, (name,))
    for section in BACKENDS.values():
        yield from settings_of(section, ("database",))


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f" (did you mean `{close[0]}`?)" if close else ""


def _check(settings: Settings) -> None:
    """What no single field can tell."""
    if settings.server.address[1] > 65_535:
        raise ConfigurationError(f"server.bind must name a port up to 65535, not `{settings.server.bind}`.")
    _check_certificates("server", settings.server)
    _check_certificates("wsserver", settings.wsserver)


def _check_certificates(name: str, section: ServerSettings | WsServerSettings) -> None:
    if (section.certfile is None) != (section.keyfile is None):
        missing = "keyfile" if section.keyfile is None else "certfile"
        raise ConfigurationError(f"{name}.{missing} is missing: a certificate and its key go together.")
