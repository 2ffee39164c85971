# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds signed transactions of all three dialects for tests, from names instead of keys.

A name stands for one key pair, alike in every process. A draft can be changed before it is signed (so that only
one rule is broken) and a finished transaction after it. A builder, not an oracle: ids, messages and conditions
come from the product's own code, so expected values of tests must come from elsewhere.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from hashlib import sha3_256, sha256
from typing import Any, NamedTuple

from nacl.bindings import crypto_sign_seed_keypair

from planetmint.conditions import (
    contract_fulfillment,
    details_uri,
    encode_fulfillment,
    fulfill,
    write_details,
)
from planetmint.model import json
from planetmint.model.condition import (
    Details,
    Ed25519Details,
    ThresholdDetails,
    ZenroomDetails,
    ZenroomFulfillment,
)
from planetmint.model.election import election_address
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.keys import decode_public_key, encode_public_key
from planetmint.model.validator import Validator, ValidatorSet

Wire = dict[str, Any]
"""A transaction, or a part of one, as JSON values that tests may change freely."""


class Dialect(Enum):
    """The generations of transactions (transactions 1)."""

    BIGCHAINDB = "bigchaindb-2.0"
    PLANETMINT_1 = "planetmint-1.x-2.0"
    PLANETMINT_2 = "planetmint-2.x-3.0"

    @property
    def version(self) -> str:
        """Member `version`."""
        return "3.0" if self is Dialect.PLANETMINT_2 else "2.0"

    @property
    def asset_member(self) -> str:
        """``assets`` in 3.0, else ``asset``."""
        return "assets" if self is Dialect.PLANETMINT_2 else "asset"

    def content(self, text: str) -> Any:
        """`text` in the form in which the dialect carries data and metadata."""
        return {"text": text} if self is Dialect.BIGCHAINDB else text

    def assets(self, item: Wire) -> Any:
        """The asset member of a transaction about one asset."""
        return [item] if self is Dialect.PLANETMINT_2 else item


# Owners


def seed(name: str) -> bytes:
    """The secret seed that a name stands for: SHA-256 of its UTF-8 text."""
    return sha256(name.encode()).digest()


@lru_cache(maxsize=4096)
def public_key(name: str) -> str:
    """The base58 public key that a name stands for."""
    return encode_public_key(crypto_sign_seed_keypair(seed(name))[0])


@dataclass(frozen=True, slots=True)
class Threshold:
    """`needed` of `owners` have to sign."""

    needed: int
    owners: tuple[Owner, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """A public key (base58) for which nobody here has the secret: where votes go."""

    public_key: str


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract to be fulfilled (transactions 5.4), mostly beside names: ``all_of("alice", Contract(...))``.

    Attributes:
        script: Zencode; the condition commits to it alone.
        data, keys: What the fulfillment gives to it.
        shown: The name whose key the output's details show in its place.
    """

    script: str
    data: JsonObject | None = None
    keys: JsonObject | None = None
    shown: str = "contract"


Owner = str | Threshold | Address | Contract
"""Who can spend an output: a name, several, nobody, or whoever fulfils a contract."""


def m_of_n(needed: int, *owners: Owner) -> Threshold:
    """`needed` of `owners` together."""
    return Threshold(needed, owners)


def all_of(*owners: Owner) -> Threshold:
    """All of `owners` together."""
    return Threshold(len(owners), owners)


def details(owner: Owner) -> Details:
    """The condition that only `owner` fulfils."""
    if isinstance(owner, str):
        return Ed25519Details(public_key(owner))
    if isinstance(owner, Address):
        return Ed25519Details(owner.public_key)
    if isinstance(owner, Contract):
        return ZenroomDetails(public_key(owner.shown))
    return ThresholdDetails(owner.needed, tuple(map(details, owner.owners)))


def names(owner: Owner) -> tuple[str, ...]:
    """Every name in `owner`, in order, no repeats."""
    if isinstance(owner, str):
        return (owner,)
    if isinstance(owner, (Address, Contract)):
        return ()
    return tuple(dict.fromkeys(name for item in owner.owners for name in names(item)))


def contracts(owner: Owner) -> tuple[Contract, ...]:
    """Every contract in `owner`, in order."""
    if isinstance(owner, Contract):
        return (owner,)
    if isinstance(owner, Threshold):
        return tuple(contract for item in owner.owners for contract in contracts(item))
    return ()


def uri(owner: Owner) -> str:
    """The URI of the condition that only `owner` fulfils."""
    derived = details_uri(details(owner), [contract.script for contract in contracts(owner)])
    assert derived is not None
    return derived


def output(amount: int | str, owner: Owner) -> Wire:
    """An output of `amount` for `owner`, listing all its keys."""
    return {
        "amount": str(amount),
        "condition": {"details": write_details(details(owner)), "uri": uri(owner)},
        "public_keys": [owner.public_key] if isinstance(owner, Address) else list(map(public_key, names(owner))),
    }


# Validators

Powers = Mapping[str, int]
"""Names of validators and their power, in the order of the set."""


def validator_set(powers: Powers) -> ValidatorSet:
    """The validators that these names stand for."""
    return tuple(Validator(raw_key(name), power) for name, power in powers.items())


def raw_key(name: str) -> bytes:
    """The 32 bytes of the public key that a name stands for."""
    raw = decode_public_key(public_key(name))
    assert raw is not None
    return raw


ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "ed25519-base16": base64.b16encode,
    "ed25519-base32": base64.b32encode,
    "ed25519-base64": base64.b64encode,
}
"""How the key of a candidate may be written (transactions 3)."""

# Transactions


@dataclass(frozen=True, slots=True)
class Spend:
    """An output to be spent.

    Attributes:
        transaction_id, output_index: Its name.
        owner: Whose condition the fulfillment is made for.
        asset_id: Of its transaction.
        signers: Names that sign; all of the owner's where it is empty.
    """

    transaction_id: str
    output_index: int
    owner: Owner
    asset_id: str
    signers: tuple[str, ...] = ()

    @property
    def reference(self) -> Wire:
        """Member `fulfills`."""
        return {"transaction_id": self.transaction_id, "output_index": self.output_index}

    def by(self, *signers: str) -> Spend:
        """The same, signed by these alone."""
        return replace(self, signers=signers)

    def at(self, output_index: int) -> Spend:
        """The same owner's claim to another output of the transaction, whether there is one or not."""
        return replace(self, output_index=output_index)


@dataclass(frozen=True, slots=True)
class Built:
    """A signed transaction with its id.

    Attributes:
        wire: The JSON value; change a copy, not this one.
        owners: Of its outputs, in order.
        asset_id: See transactions 3.1.
    """

    wire: Wire
    owners: tuple[Owner, ...] = ()
    asset_id: str = ""

    @property
    def id(self) -> str:
        """64 lower-case hex digits."""
        return str(self.wire["id"])

    @property
    def canonical(self) -> bytes:
        """The canonical form in UTF-8."""
        return json.canonical(self.wire)

    def spend(self, index: int = 0, *signers: str) -> Spend:
        """Output `index`, to be signed by `signers` (all of its owners where none are named)."""
        return Spend(self.id, index, self.owners[index], self.asset_id, signers)

    def changed(self, change: Callable[[Wire], object], *, new_id: bool = True) -> Built:
        """A copy after `change` was made to its JSON, with the id that fits it again unless told otherwise."""
        wire = copy.deepcopy(self.wire)
        change(wire)
        return replace(self, wire=identified(wire) if new_id else wire)


class Signing(NamedTuple):
    """How an input is signed: the condition to fulfil, the names that sign, what is given for its contracts."""

    condition: Details
    signers: tuple[str, ...]
    contracts: tuple[ZenroomFulfillment, ...] = ()


def signing(owner: Owner, signers: tuple[str, ...] = ()) -> Signing:
    """How `signers`, or all names in it, sign as `owner`."""
    given = tuple(contract_fulfillment(item.script, item.data, item.keys) for item in contracts(owner))
    return Signing(details(owner), signers or names(owner), given)


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction before it is signed.

    Attributes:
        wire: All members; id and fulfillments are None.
        signing: Per input.
        owners: Of its outputs, in order.
        asset_id: None where the transaction opens an asset of its own.
    """

    wire: Wire
    signing: tuple[Signing, ...]
    owners: tuple[Owner, ...] = ()
    asset_id: str | None = None

    def changed(self, change: Callable[[Wire], object]) -> Draft:
        """A copy after `change` was made to its JSON."""
        wire = copy.deepcopy(self.wire)
        change(wire)
        return replace(self, wire=wire)

    def scripted(
        self, given: JsonObject, expected: JsonValue, *, code: str = "", policies: JsonObject | None = None
    ) -> Draft:
        """A copy with a `script` of the shape of its version (transactions 2.5).

        Args:
            given: Its `inputs` (`input` in 2.0).
            expected: Its `outputs` (`output` in 2.0).
            code: Zencode; run in 3.0 alone.
            policies: Carried without effect; left out where they are None.
        """
        script: Wire = {"state": sha256(code.encode()).hexdigest()}
        if self.wire["version"] == "3.0":
            script |= {"code": code, "inputs": given, "outputs": expected}
        else:
            raw = {"type": "zenroom", "raw": code, "parameters": []}
            script |= {"code": raw, "input": given, "output": expected}
        if policies is not None:
            script["policies"] = policies
        return self.changed(lambda wire: wire.update(script=script))

    def signed(self) -> Built:
        """The transaction, signed over what it says now, with its id."""
        wire = copy.deepcopy(self.wire)
        for index, (condition, signers, given) in enumerate(self.signing):
            seeds = [seed(name) for name in signers]
            fulfillment = fulfill(condition, message(self.wire, index), seeds, given)
            wire["inputs"][index]["fulfillment"] = encode_fulfillment(fulfillment)
        wire = identified(wire)
        return Built(wire, self.owners, self.asset_id or wire["id"])


def identified(wire: Wire) -> Wire:
    """A copy with the id that its content has (transactions 4.2)."""
    return {**wire, "id": sha3_256(json.canonical({**wire, "id": None})).hexdigest()}


def message(wire: Wire, index: int) -> bytes:
    """The 32 bytes that input `index` signs (transactions 4.3)."""
    inputs = [{**item, "fulfillment": None} for item in wire["inputs"]]
    unsigned: Wire = {**wire, "id": None, "inputs": inputs}
    text = json.canonical(unsigned)
    fulfills = wire["inputs"][index]["fulfills"]
    if fulfills is not None:
        text += f"{fulfills['transaction_id']}{fulfills['output_index']}".encode()
    return sha3_256(text).digest()


def ballot_box(election_id: str) -> Address:
    """Where votes for an election go."""
    return Address(election_address(election_id))


Shares = Sequence[tuple[int | str, Owner]]
"""Amount and owner of each output."""


@dataclass(frozen=True, slots=True)
class Builder:
    """Drafts and transactions of one dialect."""

    dialect: Dialect

    def draft_create(
        self,
        owner: Owner,
        shares: Shares | None = None,
        *,
        data: Any = "",
        metadata: Any = None,
        consumes: Spend | None = None,
    ) -> Draft:
        """A CREATE signed by all of `owner`, who gets 1 share unless `shares` say otherwise.

        Args:
            owner: Who creates; several names sign one input together.
            shares: The outputs.
            data: The asset's; a text is put into the form that the dialect carries.
            metadata: As it stands on the wire.
            consumes: An output of a DECOMPOSE (3.0 only).
        """
        shares = [(1, owner)] if shares is None else shares
        value = self.dialect.content(data) if isinstance(data, str) else data
        first = self._input(names(owner), consumes)
        how = self._signing(consumes) if consumes else signing(owner)
        return self._draft("CREATE", self.dialect.assets({"data": value}), [first], shares, metadata, (how,))

    def draft_transfer(self, spends: Sequence[Spend], shares: Shares, *, metadata: Any = None) -> Draft:
        """A TRANSFER of the asset of the first of `spends`."""
        asset_id = spends[0].asset_id
        return self._spending(
            "TRANSFER", self.dialect.assets({"id": asset_id}), spends, shares, metadata, asset_id
        )

    def draft_compose(self, spends: Sequence[Spend], shares: Shares, *, data: str, metadata: Any = None) -> Draft:
        """A COMPOSE of everything in `spends` into one new asset (3.0 only)."""
        consumed = dict.fromkeys(spend.asset_id for spend in spends)
        assets = [{"data": data}, *({"id": asset_id} for asset_id in consumed)]
        return self._spending("COMPOSE", assets, spends, shares, metadata, None)

    def draft_decompose(
        self, spend: Spend, items: Sequence[str], shares: Shares | None = None, *, metadata: Any = None
    ) -> Draft:
        """A DECOMPOSE of `spend` into `items`, one output of 1 share each for the same owner (3.0 only)."""
        shares = [(1, spend.owner)] * len(items) if shares is None else shares
        assets = [*({"data": item} for item in items), {"id": spend.asset_id}]
        return self._spending("DECOMPOSE", assets, [spend], shares, metadata, spend.asset_id)

    def draft_validator_election(
        self,
        voters: Powers,
        candidate: str,
        power: int,
        *,
        by: Owner = "",
        seed: str = "",
        key_type: str = "ed25519-base16",
        metadata: Any = None,
    ) -> Draft:
        """An election that gives `candidate` the power `power` (0 removes it).

        Args:
            voters: The validators.
            candidate: A name.
            power: Its new power.
            by: Who opens it; the first of the voters where nobody is named.
            seed: Makes elections of equal content differ.
            key_type: One of `ENCODERS`.
            metadata: As it stands on the wire.
        """
        value = ENCODERS[key_type](raw_key(candidate)).decode()
        data = {
            "node_id": sha256(candidate.encode()).hexdigest()[:40],
            "power": power,
            "public_key": {"type": key_type, "value": value},
            "seed": seed,
        }
        return self._election("VALIDATOR_ELECTION", voters, data, by, metadata)

    def draft_migration_election(
        self, voters: Powers, *, by: Owner = "", seed: str = "", metadata: Any = None
    ) -> Draft:
        """An election that ends the chain under its present name; arguments as above."""
        return self._election("CHAIN_MIGRATION_ELECTION", voters, {"seed": seed}, by, metadata)

    def draft_vote(
        self, spends: Sequence[Spend], shares: Shares | None = None, *, amount: int = 0, metadata: Any = None
    ) -> Draft:
        """A VOTE in the election of the first of `spends`.

        Args:
            spends: Shares of the election.
            shares: The outputs; where there are none, `amount` goes to the election's address.
            amount: What `spends` hold together.
            metadata: As it stands on the wire.
        """
        election_id = spends[0].asset_id
        shares = [(amount, ballot_box(election_id))] if shares is None else shares
        assets = self.dialect.assets({"id": election_id})
        return self._spending("VOTE", assets, spends, shares, metadata, election_id)

    def validator_election(self, voters: Powers, candidate: str, power: int, **members: Any) -> Built:
        """See `draft_validator_election`."""
        return self.draft_validator_election(voters, candidate, power, **members).signed()

    def migration_election(self, voters: Powers, **members: Any) -> Built:
        """See `draft_migration_election`."""
        return self.draft_migration_election(voters, **members).signed()

    def vote(self, spends: Sequence[Spend], shares: Shares | None = None, **members: Any) -> Built:
        """See `draft_vote`."""
        return self.draft_vote(spends, shares, **members).signed()

    def create(self, owner: Owner, shares: Shares | None = None, **members: Any) -> Built:
        """See `draft_create`."""
        return self.draft_create(owner, shares, **members).signed()

    def transfer(self, spends: Sequence[Spend], shares: Shares, **members: Any) -> Built:
        """See `draft_transfer`."""
        return self.draft_transfer(spends, shares, **members).signed()

    def compose(self, spends: Sequence[Spend], shares: Shares, **members: Any) -> Built:
        """See `draft_compose`."""
        return self.draft_compose(spends, shares, **members).signed()

    def decompose(self, spend: Spend, items: Sequence[str], shares: Shares | None = None, **members: Any) -> Built:
        """See `draft_decompose`."""
        return self.draft_decompose(spend, items, shares, **members).signed()

    def _election(self, operation: str, voters: Powers, data: Wire, by: Owner, metadata: Any) -> Draft:
        initiator = by or next(iter(voters))
        shares = [(power, name) for name, power in voters.items()]
        first = self._input(names(initiator), None)
        assets = self.dialect.assets({"data": data})
        return self._draft(operation, assets, [first], shares, metadata, (signing(initiator),))

    def _spending(
        self,
        operation: str,
        assets: Any,
        spends: Sequence[Spend],
        shares: Shares,
        metadata: Any,
        asset_id: str | None,
    ) -> Draft:
        inputs = [self._input(names(spend.owner), spend) for spend in spends]
        how = tuple(map(self._signing, spends))
        return replace(self._draft(operation, assets, inputs, shares, metadata, how), asset_id=asset_id)

    def _draft(
        self,
        operation: str,
        assets: Any,
        inputs: list[Wire],
        shares: Shares,
        metadata: Any,
        how: tuple[Signing, ...],
    ) -> Draft:
        wire: Wire = {
            "id": None,
            "version": self.dialect.version,
            "operation": operation,
            self.dialect.asset_member: assets,
            "inputs": inputs,
            "outputs": [output(amount, owner) for amount, owner in shares],
            "metadata": metadata,
        }
        return Draft(wire, how, tuple(owner for _, owner in shares))

    @staticmethod
    def _input(owners: Sequence[str], spend: Spend | None) -> Wire:
        return {
            "owners_before": list(map(public_key, owners)),
            "fulfills": spend.reference if spend else None,
            "fulfillment": None,
        }

    @staticmethod
    def _signing(spend: Spend) -> Signing:
        return signing(spend.owner, spend.signers)
