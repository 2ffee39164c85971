# SPDX-License-Identifier: AGPL-3.0-or-later
"""The group of commands `network`: arguments and help; the work is in `planetmint.cli.network`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from planetmint.cli.context import load

group = typer.Typer(
    rich_markup_mode=None,
    help="Make several nodes one network. Each runs `init --join` and `network show`; one makes the genesis file "
    "from the keys that those print (`network found`); each takes it (`network join`) and starts.",
)


@group.command("show", short_help="Print this node's keys and addresses as JSON.")
def _show(context: typer.Context) -> None:
    """Print as JSON what others need to know of this node: `validator` (its public key in base64), `p2p_address`
    (where they reach it), and the chain that it belongs to."""
    from planetmint.cli.network import network_show

    network_show(load(context))


@group.command(
    "found",
    short_help="Make the genesis file of a new network.",
    epilog="""
    Examples:

    \b
      planetmint network found --validator KEY1 --validator KEY2:20 --chain-id our-chain > genesis.json
    """,
)
def _found(
    context: typer.Context,
    validators: Annotated[
        list[str],
        typer.Option(
            "--validator",
            metavar="KEY[:POWER]",
            help="A validator's public key in base64, as `network show` prints it, and its power (10). May be "
            "repeated.",
        ),
    ],
    chain_id: Annotated[
        str | None, typer.Option("--chain-id", metavar="NAME", help="The chain's name; else one is made.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there instead of to stdout.")
    ] = None,
) -> None:
    """Make the genesis file of a chain of these validators. The settings `chain.*` become its parameters."""
    from planetmint.cli.network import network_found

    network_found(load(context), validators, _chain_name(chain_id), output)


@group.command(
    "join",
    short_help="Make this node one of a network.",
    epilog="""
    Examples:

    \b
      planetmint network join --genesis genesis.json --peer ID@node1.example.com:26656
      planetmint network join --genesis genesis.json --peer ID@node1.example.com:26656 \\
        --state-sync node1.example.com:26657,node2.example.com:26657 \\
        --trust-height 5000 --trust-hash 6FD2...

    With --state-sync the node takes a snapshot of the ledger, derives its hashes anew and compares
    them with what the validators signed; without it fetches and executes every block.
    """,
)
def _join(
    context: typer.Context,
    genesis: Annotated[
        Path | None,
        typer.Option("--genesis", metavar="FILE", help="The network's genesis file; `-` reads standard input."),
    ] = None,
    peers: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            metavar="ID@HOST:PORT",
            help="Another node, as `network show` prints it there (`p2p_address`). May be repeated.",
        ),
    ] = None,
    state_sync: Annotated[
        str | None,
        typer.Option("--state-sync", metavar="HOST:PORT,...", help="RPC of engines that vouch for the snapshot."),
    ] = None,
    trust_height: Annotated[
        int | None, typer.Option("--trust-height", metavar="N", min=1, help="A height of the chain's engine.")
    ] = None,
    trust_hash: Annotated[
        str | None,
        typer.Option(
            "--trust-hash", metavar="HEX", help="Hash of the engine's block there, from a node you trust."
        ),
    ] = None,
) -> None:
    """Make this node one of a network: take its genesis file and the addresses of some of its nodes. The node must
    not run. A home that has blocks of another chain is left as it is."""
    from planetmint.cli.network import network_join, state_sync_of

    network_join(load(context), genesis, peers or [], state_sync_of(state_sync, trust_height, trust_hash))


def _chain_name(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", name):
        raise typer.BadParameter("1 to 50 letters, digits, `.`, `_` or `-`.", param_hint="--chain-id")
    return name
