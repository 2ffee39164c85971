# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `start`: settings, log, the lock on the data folder, then the node until it is told to end.

Source: cli-and-config 2.3.
"""

import asyncio
from dataclasses import dataclass

import structlog

from planetmint.runtime.backends import make_keeper
from planetmint.runtime.lock import data_folder
from planetmint.runtime.logging import setup_logging
from planetmint.runtime.settings import ConfigurationError, TarantoolSettings
from planetmint.runtime.settings_sources import Configuration
from planetmint.version import __version__

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Flags:
    """What `start` was told.

    Attributes:
        web_api: Serve the Web API.
        streams: Serve the event stream.
        init: Make the store where there is none.
        parallel_asked: The flag of the old servers that asks for parallel validation.
    """

    web_api: bool
    streams: bool
    init: bool
    parallel_asked: bool


def start(configuration: Configuration, flags: Flags) -> int:
    """Run the node; returns its exit code.

    Raises:
        ConfigurationError: The node cannot run with these settings.
        StoreError: The store cannot be used.
    """
    settings = configuration.settings
    setup_logging(settings)
    _log.info(f"Planetmint Version {__version__}")
    if not configuration.found:
        _log.info(configuration.missing_file)
    for warning in configuration.warnings:
        _log.warning(warning)
    keeper = make_keeper(settings)
    outside = isinstance(settings.database, TarantoolSettings) and not settings.database_managed
    # An outside server may still be on its way up; it is asked only where the answer counts.
    exists = True if outside and flags.init else asyncio.run(keeper.exists())
    if not flags.init and not exists:
        raise ConfigurationError(
            f"There is no database {keeper.name} yet. Run `planetmint init`, or start without --no-init."
        )
    if flags.parallel_asked:
        _log.info("--experimental-parallel-validation has no effect: signatures are always checked in parallel")
    if not exists:
        _log.info(f"Initializing database {keeper.name}")
    _log.info("Starting Planetmint main process.")
    # Imported late: the other commands need neither the web server nor the engine.
    from planetmint.runtime.node import serve

    with data_folder(settings.data.path):
        return serve(settings, web_api=flags.web_api, streams=flags.streams, init=flags.init)
