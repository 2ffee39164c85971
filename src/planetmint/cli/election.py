# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands `election new`, `approve` and `show`: what validators' operators decide together.

The first two talk to the running node over its Web API, whatever its engine; `show` reads the database.
Outputs and exit codes: elections-and-operations 5.
"""

import asyncio
import base64
import binascii
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from planetmint.app.ballots import Share, Version, cast_vote, propose_migration, propose_validator, public_key_of
from planetmint.cli.console import CommandFailed, say, show
from planetmint.cli.node_client import NodeClient, Refused
from planetmint.elections import ElectionStatus, election_status
from planetmint.model.election import ELECTIONS, ChainRecord, ElectionRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.keys import KEY_BYTES, encode_public_key
from planetmint.model.transaction import Operation, OutputRef, Transaction
from planetmint.model.validator import MAX_TOTAL_POWER, Validator, ValidatorSet
from planetmint.ports.store import StateReads
from planetmint.runtime.reading import reading_store
from planetmint.runtime.settings import Settings

NO_VOTER = "The key you provided does not match any of the eligible voters in this election."
NO_PROPOSAL = "Failed to commit election proposal"
NO_VOTE = "Failed to commit vote"

_SEED_BYTES = 32


def no_election(election_id: str) -> CommandFailed:
    """There is no such one."""
    return CommandFailed(f"No election found with election_id {election_id}")


def new_validator(
    settings: Settings, public_key: str, power: int, node_id: str, key_file: Path, version: Version
) -> None:
    """Propose to give a key a power; 0 removes it."""
    key = read_public_key(public_key)
    if not 0 <= power <= MAX_TOTAL_POWER:
        raise CommandFailed(f"A power is a whole number from 0 to {MAX_TOTAL_POWER}, not {power}.")
    seed, client = read_seed(key_file), NodeClient(settings.server)
    try:
        change = Validator(key, power)
        election = propose_validator(change, node_id, str(uuid.uuid4()), validators_of(client), seed, version)
    except InvalidTransaction as refusal:
        raise CommandFailed(refusal.reason) from None
    _propose(client, election)


def new_migration(settings: Settings, key_file: Path, version: Version) -> None:
    """Propose to end the chain under its present name."""
    seed, client = read_seed(key_file), NodeClient(settings.server)
    try:
        election = propose_migration(str(uuid.uuid4()), validators_of(client), seed, version)
    except InvalidTransaction as refusal:
        raise CommandFailed(refusal.reason) from None
    _propose(client, election)


def approve(settings: Settings, election_id: str, key_file: Path, version: Version) -> None:
    """Vote for an election with everything that the key has left to give."""
    seed, client = read_seed(key_file), NodeClient(settings.server)
    owner = encode_public_key(public_key_of(seed))
    given = shares_of(client, election_id, owner)
    if not given:
        raise CommandFailed(NO_VOTER)
    unspent = _unspent(client, owner)
    left = [share for share in given if share.ref in unspent]
    if not left:
        raise CommandFailed(f"{NO_VOTE}: the key has given all its votes in this election already")
    try:
        vote = cast_vote(election_id, left, seed, version)
    except InvalidTransaction as refusal:
        raise CommandFailed(f"{NO_VOTE}: {refusal.reason}") from None
    _submit(client, vote, "vote", NO_VOTE)
    show("[SUCCESS] Your vote has been submitted")


def show_election(settings: Settings, election_id: str) -> None:
    """Print how an election stands, from the database."""
    for line in asyncio.run(_described(settings, election_id)):
        show(line)


def read_seed(path: Path) -> bytes:
    """The first 32 bytes of `priv_key.value` in a file of the engine's form.

    Raises:
        CommandFailed: It cannot be read.
    """
    try:
        value = json.loads(path.read_bytes())["priv_key"]["value"]
        secret = base64.b64decode(value, validate=True)
    except OSError as error:
        raise CommandFailed(str(error)) from None
    except (ValueError, KeyError, TypeError):
        secret = b""
    if len(secret) not in (_SEED_BYTES, 2 * _SEED_BYTES):
        raise CommandFailed(f"{path} holds no private key: name the validator's priv_validator_key.json")
    return secret[:_SEED_BYTES]


def read_public_key(text: str) -> bytes:
    """The 32 bytes of a public key in base64, as the engine's show-validator command prints it."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise CommandFailed(
            f"`{text}` is no public key: 32 bytes in base64 are needed, as `planetmint network show`"
        )
    return key


def validators_of(client: NodeClient) -> ValidatorSet:
    """The newest validator set."""
    match client.get("/validators"):
        case list(items):
            return tuple(map(_validator, items))
    raise CommandFailed("The node's answer about its validators cannot be understood.")


def _validator(item: JsonValue) -> Validator:
    match item:
        case {"public_key": {"value": str(value)}, "voting_power": int(power)}:
            return Validator(base64.b64decode(value), power)
    raise CommandFailed("The node's answer about its validators cannot be understood.")


def shares_of(client: NodeClient, election_id: str, owner: str) -> list[Share]:
    """Every output, spent or not, with which `owner` could vote in an election: given by it, or by its voters."""
    shares = list(_outputs_of(_election(client, election_id), owner))
    for item in _listed(client.get("/transactions", asset_id=election_id)):
        if isinstance(item, dict) and item.get("operation") == Operation.VOTE:
            shares.extend(_outputs_of(item, owner))
    return shares


def _outputs_of(transaction: JsonObject, owner: str) -> Iterator[Share]:
    for index, output in enumerate(_listed(transaction["outputs"])):
        match output:
            case {"amount": str(amount), "public_keys": [key]} if key == owner:
                yield Share(OutputRef(str(transaction["id"]), index), int(amount))


def _election(client: NodeClient, election_id: str) -> JsonObject:
    if len(election_id) != 64 or set(election_id) - set("0123456789abcdef"):
        raise no_election(election_id)
    try:
        found = client.get(f"/transactions/{election_id}")
    except Refused as refusal:
        if refusal.status == 404:
            raise no_election(election_id) from None
        raise
    if not isinstance(found, dict) or found.get("operation") not in ELECTIONS:
        raise no_election(election_id)
    return found


def _unspent(client: NodeClient, owner: str) -> set[OutputRef]:
    found = set()
    for item in _listed(client.get("/outputs", public_key=owner, spent="false")):
        match item:
            case {"transaction_id": str(transaction_id), "output_index": int(index)}:
                found.add(OutputRef(transaction_id, index))
    return found


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _propose(client: NodeClient, election: Transaction) -> None:
    _submit(client, election, "election", NO_PROPOSAL)
    show(f"[SUCCESS] Submitted proposal with id: {election.id}")


def _submit(client: NodeClient, transaction: Transaction, kind: str, failure: str) -> None:
    """Send a transaction; its id is said before anything can go wrong or take long."""
    say(f"The {kind} has the id {transaction.id}; waiting for its block.")
    try:
        client.post(transaction.canonical)
    except Refused as refusal:
        raise CommandFailed(f"{failure}: {refusal}") from None


class _Standing(NamedTuple):
    """What `show` has read.

    Attributes:
        record: Of the election.
        node_id: Of the validator's node, as the election says; empty for a migration.
        status: How it stands.
        chain: The newest record.
        validators: The newest set.
        app_hash: After the newest block.
    """

    record: ElectionRecord
    node_id: str
    status: ElectionStatus
    chain: ChainRecord
    validators: ValidatorSet
    app_hash: str


async def _described(settings: Settings, election_id: str) -> list[str]:
    async with reading_store(settings) as store:
        view = await store.read_state(StateReads((), (), (election_id,)))
        record = view.election(election_id)
        canonical = await store.transaction(election_id)
        head = await store.head()
    if record is None or canonical is None or head is None:
        raise no_election(election_id)
    status = election_status(record, head.height, view.validator_changes())
    standing = _Standing(record, _node_id(canonical), status, view.chain(), view.validators(), head.app_hash)
    return list(_lines(standing))


def _node_id(election: bytes) -> str:
    match json.loads(election):
        case {"asset": {"data": {"node_id": str(node_id)}}} | {"assets": [{"data": {"node_id": str(node_id)}}]}:
            return node_id
    return ""


def _lines(standing: _Standing) -> Iterator[str]:
    record = standing.record
    if record.change is not None:
        yield f"public_key={base64.b64encode(record.change.public_key).decode()}"
        yield f"power={record.change.power}"
        yield f"node_id={standing.node_id}"
    yield f"status={standing.status}"
    if record.change is None and not standing.chain.synced:
        yield f"chain_id={standing.chain.chain_id}"
        yield f"app_hash={standing.app_hash}"
        yield f"validators={json.dumps(list(map(_genesis_entry, standing.validators)), indent=4)}"


def _genesis_entry(validator: Validator) -> JsonValue:
    """A validator as the engine's genesis file lists it."""
    value = base64.b64encode(validator.public_key).decode()
    return {"pub_key": {"type": "tendermint/PubKeyEd25519", "value": value}, "power": validator.power}
