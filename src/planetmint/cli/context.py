# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stands before every command: its flags, and the settings that they lead to."""

import os
from dataclasses import dataclass

import typer

from planetmint.cli.configure import STDOUT
from planetmint.cli.console import CommandFailed, say, warn
from planetmint.runtime.settings import Settings
from planetmint.runtime.settings_sources import Configuration, load_settings


@dataclass(frozen=True, slots=True)
class Globals:
    """The flags that stand before the command."""

    config: str | None
    log_level: str | None
    yes: bool


def read_configuration(context: typer.Context) -> Configuration:
    """Where the settings come from, with what is to be said about that.

    Raises:
        CommandFailed, ConfigurationError: They cannot be read.
    """
    given: Globals = context.obj
    if given.config == STDOUT:
        raise CommandFailed("`-c -` writes to stdout, which only `configure` does; name a file to read.")
    return load_settings(os.environ, config=given.config, log_level=given.log_level)


def load(context: typer.Context) -> Settings:
    """The settings for every command but `start`, which says in its log what these say at once."""
    configuration = read_configuration(context)
    if not configuration.found:
        say(configuration.missing_file)
    warn(configuration.warnings)
    return configuration.settings
