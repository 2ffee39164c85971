# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `planetmint`: its flags and sub-commands, and where an operator's mistake becomes one line.

Help is plain text, so that it reads the same in a terminal, a log and docs/commands.md, which is made from it.
"""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from planetmint.cli.configure import STDOUT, Backend
from planetmint.cli.console import CommandFailed, keep_stdout_clean, say, show, show_json
from planetmint.cli.context import Globals, load, read_configuration
from planetmint.cli.contract_group import group as contract_group
from planetmint.cli.election_group import group as election_group
from planetmint.cli.network_group import group as network_group
from planetmint.cli.trust_commands import add_commands as add_trust_commands
from planetmint.ports.errors import EngineError, StoreError
from planetmint.runtime.settings import LEVELS, ConfigurationError
from planetmint.runtime.settings_sources import config_path
from planetmint.version import __version__

PROGRAM = "planetmint"

_INTERRUPTED = 130
"""Exit code that the library makes of Ctrl-C."""

app = typer.Typer(
    name=PROGRAM,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


app.add_typer(network_group, name="network", short_help="Make several nodes one network.")
app.add_typer(election_group, name="election", short_help="Decide together with the other validators.")
app.add_typer(contract_group, name="contract", short_help="Try contracts out, without a node.")


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _known_level(level: str | None) -> str | None:
    if level is not None and level.lower() not in LEVELS:
        raise typer.BadParameter(f"'{level}' is none of {', '.join(LEVELS).upper()}.")
    return level


@app.callback(
    invoke_without_command=True,
    epilog="""
    Examples:

    \b
      planetmint start                            run a node with the defaults
      planetmint -y configure                     write ~/.planetmint with the defaults
      planetmint -c node.json -l debug start      other file, more to read
      PLANETMINT_DATA_DIR=/srv/node planetmint start

    Every setting can also be given as an environment variable: `server.bind` is PLANETMINT_SERVER_BIND.
    """,
)
def _options(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(
            "-c",
            "--config",
            metavar="FILE",
            help="Configuration file to read; for `configure` the one to write, `-` is stdout. "
            "Default: $PLANETMINT_CONFIG_PATH, else ~/.planetmint.",
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            "-l",
            "--log-level",
            metavar="LEVEL",
            callback=_known_level,
            help=f"{', '.join(LEVELS).upper()}, in any letter case; goes before every other setting of levels.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", "--yes-please", help="Ask nothing: take `yes` and the defaults.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "-v", "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """A node of a blockchain database: it takes signed transactions over HTTP, makes blocks of them, and streams
    every committed one. It speaks the wire formats of BigchainDB 2.x and Planetmint, so that their drivers work
    unchanged."""
    context.obj = Globals(config, log_level, yes)
    if context.invoked_subcommand is None:
        show(context.get_help())


@app.command(
    "configure",
    short_help="Write the configuration file.",
    epilog="""
    Examples:

    \b
      planetmint configure                        ask, and write ~/.planetmint
      planetmint -y -c node.json configure        ask nothing, write node.json
      planetmint -y -c - configure                print the defaults
    """,
)
def _configure(
    context: typer.Context,
    backend: Annotated[
        str,
        typer.Argument(
            metavar="BACKEND",
            help="Storage backend: `sqlite`, a file that needs no service, or `tarantool_db`, with which the node "
            "runs beside the engine CometBFT.",
        ),
    ] = "sqlite",
) -> None:
    """Write the configuration file (mode 0600), asking for the addresses. An existing one is replaced only after
    the answer `y`. The file depends on the answers alone, not on the environment."""
    from planetmint.cli.configure import configure

    given: Globals = context.obj
    target = None if given.config == STDOUT else config_path(given.config, os.environ)
    configure(_backend(backend), target, assume_yes=given.yes)


def _backend(name: str) -> Backend:
    if name == "sqlite":
        return "sqlite"
    if name == "tarantool_db":
        return "tarantool_db"
    raise typer.BadParameter(f"'{name}' is neither 'sqlite' nor 'tarantool_db'.", param_hint="BACKEND")


@app.command("show-config", short_help="Print the effective configuration as JSON.")
def _show_config(context: typer.Context) -> None:
    """Print the effective configuration as JSON: flags, environment, file and defaults put together. A password is
    masked."""
    show_json(load(context).to_public_json())


@app.command(
    "init",
    short_help="Make the database and the engine's home.",
    epilog="""
    Examples:

    \b
      planetmint init
      PLANETMINT_CONSENSUS_ENGINE=cometbft planetmint init --join
    """,
)
def _init(
    context: typer.Context,
    genesis: Annotated[
        Path | None,
        typer.Option("--genesis", metavar="FILE", help="Take this genesis file instead of founding a chain."),
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="Found no chain: `network join` will bring the genesis file.")
    ] = False,
) -> None:
    """Make the database where there is none and, beside an engine that the node looks after, the engine's home:
    keys, settings, and the genesis file of a chain with this node as its only validator. May be repeated; `start`
    does it too. Without an engine the chain is founded at the first start."""
    from planetmint.cli.database import init

    init(load(context), genesis=genesis, join=join)


@app.command("drop", short_help="Delete the database.")
def _drop(context: typer.Context) -> None:
    """Delete the database with all blocks and transactions, after a question. The node must not run. The validator
    key in the data folder stays."""
    from planetmint.cli.database import drop

    given: Globals = context.obj
    drop(load(context), assume_yes=given.yes)


@app.command("migrate", short_help="Bring the database to the present layout.")
def _migrate(context: typer.Context) -> None:
    """Bring a database of an older version of this node to the present layout. The node must not run. May be
    repeated."""
    from planetmint.cli.database import migrate

    migrate(load(context))


@app.command(
    "start",
    short_help="Run the node.",
    epilog="""
    Examples:

    \b
      planetmint start
      planetmint -l debug start
      PLANETMINT_SERVER_BIND=0.0.0.0:9984 PLANETMINT_WSSERVER_HOST=0.0.0.0 planetmint start

    SIGINT (Ctrl-C) or SIGTERM ends the node after the block under way; a second one waits for no
    request.
    """,
)
def _start(
    context: typer.Context,
    no_init: Annotated[
        bool, typer.Option("--no-init", help="Do not make the database if there is none; fail instead.")
    ] = False,
    parallel: Annotated[
        bool,
        typer.Option(
            "--experimental-parallel-validation",
            help="Taken for compatibility, without effect: signatures are always checked in parallel.",
        ),
    ] = False,
    web_api_only: Annotated[
        bool, typer.Option("--web-api-only", help="Serve the Web API, but not the event stream.")
    ] = False,
    abci_only: Annotated[
        bool, typer.Option("--abci-only", help="Make blocks and serve the event stream, but not the Web API.")
    ] = False,
) -> None:
    """Run the node in the foreground: the Web API on localhost:9984 and the event stream on localhost:9985, unless
    set otherwise. It makes its blocks itself (`consensus.engine=solo`) or follows those of a network
    (`cometbft`), and keeps them in a file (`database.backend=sqlite`) or in Tarantool (`tarantool_db`). An engine
    and a Tarantool on this machine are started and looked after. The log goes to stderr."""
    from planetmint.cli.start import Flags, start

    if web_api_only and abci_only:
        raise typer.BadParameter("--web-api-only and --abci-only exclude each other.")
    flags = Flags(web_api=not abci_only, streams=not web_api_only, init=not no_init, parallel_asked=parallel)
    raise typer.Exit(start(read_configuration(context), flags))


@app.command("tendermint-version", short_help="Print the supported engine versions as JSON.")
def _tendermint_version() -> None:
    """Print as JSON the versions of the consensus engine CometBFT (once Tendermint) that this version of the node
    was tested with; another one is a warning in the log."""
    from planetmint.runtime.services import COMETBFT_VERSIONS

    description = "Planetmint supports the following Tendermint version(s)"
    show_json({"description": description, "tendermint": list(COMETBFT_VERSIONS)})


add_trust_commands(app)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code: 0 success, 1 failure, 2 wrong usage."""
    keep_stdout_clean()
    try:
        app(list(arguments), prog_name=PROGRAM)
    except SystemExit as end:
        return _exit_code(end.code)
    except (ConfigurationError, CommandFailed, StoreError, EngineError) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(_explain(error))
    return 0


def _exit_code(code: str | int | None) -> int:
    if code == _INTERRUPTED:
        return _failed("interrupted")
    return code if isinstance(code, int) else int(code is not None)


def _failed(message: str) -> int:
    say(f"Error: {' '.join(message.split())}")
    return 1


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{error.strerror or error}: another program listens there; change server.bind or wsserver.port."
    place = f" `{Path(error.filename)}`" if isinstance(error.filename, str) else ""
    return f"The system refused{place}: {error.strerror or error}."


def main() -> None:
    """Entry point of the command."""
    sys.exit(run(sys.argv[1:]))
