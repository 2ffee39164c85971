# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections and votes: validation 4.4 row by row, on a chain of one validator near the engine's bound on power.

No case and no setup gives an election its majority, so that the validators are the same throughout.
Sources: transactions 3, validation 3.3 and 4.4.
"""

import base64
from collections.abc import Callable
from typing import Any

from planetmint.conditions import encode_fulfillment, fulfill
from planetmint.model.errors import (
    AmountError,
    AssetIdMismatch,
    DoubleSpend,
    DuplicateTransaction,
    InputDoesNotExist,
    InvalidPowerChange,
    InvalidProposer,
    InvalidPublicKey,
    InvalidSignature,
    MultipleInputsError,
    UnequalValidatorSet,
    ValidationError,
)
from planetmint.model.validator import MAX_TOTAL_POWER
from planetmint.testing.build import (
    ENCODERS,
    Built,
    Draft,
    Owner,
    Shares,
    Spend,
    Wire,
    all_of,
    ballot_box,
    details,
    m_of_n,
    output,
    public_key,
    raw_key,
    seed,
)
from planetmint.testing.invalid.case import ALL, POWERS, VALIDATOR, VALIDATORS, Change, Group, Play, Scene, put
from planetmint.testing.invalid.ledger import VOTE

VALIDATOR_ELECTION = Group("VALIDATOR_ELECTION")
MIGRATION_ELECTION = Group("CHAIN_MIGRATION_ELECTION")

POWER = POWERS[VALIDATOR]
_NOWHERE = "0123456789abcdef" * 4

_Opening = Callable[..., Draft]


def _upsert(scene: Scene, *, by: Owner = "") -> Draft:
    return scene.build.draft_validator_election(POWERS, scene.alice, 1, by=by, seed=scene.who("seed"))


def _migrate(scene: Scene, *, by: Owner = "") -> Draft:
    return scene.build.draft_migration_election(POWERS, by=by, seed=scene.who("seed"))


def _with(opening: _Opening, change: Change) -> Play:
    """An election that was changed before it was signed: nothing else is wrong with it."""
    return lambda scene: opening(scene).changed(change).signed()


def _data(*path: str, to: Any) -> Change:
    """Set a member inside of the asset's data."""

    def change(wire: Wire) -> None:
        put(*path, to=to)(_subject(wire)["data"])

    return change


def _without(name: str) -> Change:
    return lambda wire: _subject(wire)["data"].pop(name)


def _subject(wire: Wire) -> Wire:
    asset: Wire = wire["assets"][0] if wire["version"] == "3.0" else wire["asset"]
    return asset


def _asset(to: Any) -> Change:
    def change(wire: Wire) -> None:
        if wire["version"] == "3.0":
            wire["assets"] = [to]
        else:
            wire["asset"] = to

    return change


# What both elections have in common


def _register_opening(group: Group, opening: _Opening) -> None:
    def voters(what: str, change: Change) -> None:
        group.add(what, UnequalValidatorSet, "election.voters", ALL, _with(opening, change))

    @group.case("the same again", DuplicateTransaction, "election.duplicate")
    def _again(scene: Scene) -> Built:
        return scene.keep(opening(scene).signed())

    @group.case("signature over another message", InvalidSignature, "signature")
    def _other_message(scene: Scene) -> Built:
        signature = fulfill(details(VALIDATOR), bytes(32), [seed(VALIDATOR)])
        return opening(scene).signed().changed(put("inputs", 0, "fulfillment", to=encode_fulfillment(signature)))

    @group.case("changed after it was signed", InvalidSignature, "signature")
    def _changed(scene: Scene) -> Built:
        return opening(scene).signed().changed(_data("seed", to="another"))

    @group.case("by a stranger in the validator's name", InvalidSignature, "signature.owners")
    def _forged(scene: Scene) -> Built:
        named = put("inputs", 0, "owners_before", to=[public_key(VALIDATOR)])
        return opening(scene, by=scene.alice).changed(named).signed()

    @group.case("by the validator in another's name", InvalidSignature, "signature.owners")
    def _renamed(scene: Scene) -> Built:
        named = put("inputs", 0, "owners_before", to=[public_key(scene.alice)])
        return opening(scene).changed(named).signed()

    @group.case("by nobody", InvalidSignature, "signature.owners")
    def _by_nobody(scene: Scene) -> Built:
        return opening(scene).changed(put("inputs", 0, "owners_before", to=[])).signed()

    @group.case("by two", MultipleInputsError, "election.one_owner")
    def _by_two(scene: Scene) -> Built:
        return opening(scene, by=all_of(VALIDATOR, scene.alice)).signed()

    @group.case("the owner listed twice", MultipleInputsError, "election.one_owner")
    def _twice(scene: Scene) -> Built:
        named = put("inputs", 0, "owners_before", to=[public_key(VALIDATOR)] * 2)
        return opening(scene).changed(named).signed()

    @group.case("by a stranger", InvalidProposer, "election.proposer")
    def _stranger(scene: Scene) -> Built:
        return opening(scene, by=scene.alice).signed()

    @group.case("validator's output locked to another key", ValidationError, "output.public_keys")
    def _locked(scene: Scene) -> Built:
        stolen = {**output(POWER, scene.alice), "public_keys": [public_key(VALIDATOR)]}
        return opening(scene).changed(put("outputs", 0, to=stolen)).signed()

    @group.case("an output for a stranger", UnequalValidatorSet, "election.voters")
    def _for_stranger(scene: Scene) -> Built:
        return opening(scene).changed(put("outputs", 0, to=output(POWER, scene.alice))).signed()

    @group.case("an output for a stranger besides", UnequalValidatorSet, "election.voters")
    def _and_stranger(scene: Scene) -> Built:
        return opening(scene).changed(lambda wire: wire["outputs"].append(output(1, scene.alice))).signed()

    voters("no outputs", put("outputs", to=[]))
    voters("less power than the validator has", put("outputs", 0, "amount", to=str(POWER - 1)))
    voters("more power than the validator has", put("outputs", 0, "amount", to=str(POWER + 1)))
    voters("the validator twice", lambda wire: wire["outputs"].append(wire["outputs"][0]))
    voters("the validator in two parts", put("outputs", to=[output(POWER - 5, VALIDATOR), output(5, VALIDATOR)]))
    voters("an output without a key", put("outputs", 0, "public_keys", to=[]))
    voters("an output with keys null", put("outputs", 0, "public_keys", to=None))
    voters("an output with its key twice", put("outputs", 0, "public_keys", to=[public_key(VALIDATOR)] * 2))

    def schema(what: str, rule: str, change: Change) -> None:
        group.schema(what, rule, _with(opening, change))

    schema("an output for one of one", "schema.ed25519", put("outputs", 0, to=output(POWER, m_of_n(1, VALIDATOR))))
    schema(
        "an output for one of two",
        "schema.ed25519",
        put("outputs", 0, to=output(POWER, m_of_n(1, VALIDATOR, "somebody"))),
    )
    schema("no data", "schema.required", _asset({}))
    schema("data null", "schema.type", _asset({"data": None}))
    schema("data a text", "schema.type", _asset({"data": "x"}))
    schema("an id", "schema.required", _asset({"id": _NOWHERE}))
    schema("asset null", "schema.type", _asset(None))
    schema("unknown member in data", "schema.additional", _data("extra", to=1))
    schema("unknown member beside data", "schema.additional", lambda wire: _subject(wire).update(extra=1))
    schema("seed a number", "schema.type", _data("seed", to=1))
    schema("seed null", "schema.type", _data("seed", to=None))
    group.schema(
        "two assets",
        "schema.length",
        _with(opening, lambda wire: wire["assets"].append(wire["assets"][0])),
        [dialect for dialect in ALL if dialect.version == "3.0"],
    )
    spending = {"transaction_id": _NOWHERE, "output_index": 0}
    then: Change = put("inputs", 0, "fulfills", to=spending)
    group.schema("fulfills an output", "schema.type", lambda scene: opening(scene).signed().changed(then))
    group.schema(
        "two inputs",
        "schema.length",
        lambda scene: opening(scene).signed().changed(lambda wire: wire["inputs"].append(wire["inputs"][0])),
    )


_register_opening(VALIDATOR_ELECTION, _upsert)
_register_opening(MIGRATION_ELECTION, _migrate)

MIGRATION_ELECTION.schema("a candidate", "schema.additional", _with(_migrate, _data("power", to=1)))


# VALIDATOR_ELECTION: the candidate


_NO_OBJECTS: tuple[Any, ...] = (None, "x", [], 1)
_NO_TEXTS: tuple[Any, ...] = (None, 1, [], {})
_NO_KEY_TYPES: tuple[Any, ...] = ("secp256k1", "ed25519-base58", "", None, 1, ["ed25519-base16"], {})
_NO_INTEGERS: tuple[Any, ...] = ("1", 1.0, True, None, [1])


def _register_candidates() -> None:
    def schema(what: str, rule: str, change: Change) -> None:
        VALIDATOR_ELECTION.schema(what, rule, _with(_upsert, change))

    for name in ("node_id", "power", "public_key"):
        schema(f"{name} missing", "schema.required", _without(name))
    schema("node_id a number", "schema.type", _data("node_id", to=1))
    schema("power -1", "schema.minimum", _data("power", to=-1))
    schema("power beyond the engine's bound", "schema.maximum", _data("power", to=MAX_TOTAL_POWER + 1))
    schema("power 2**64 + 1", "schema.maximum", _data("power", to=2**64 + 1))
    for power in _NO_INTEGERS:
        schema(f"power {power!r}", "schema.type", _data("power", to=power))
    for other in _NO_OBJECTS:
        schema(f"public_key {other!r}", "schema.type", _data("public_key", to=other))
    schema("public_key without type", "schema.required", _data("public_key", to={"value": "x"}))
    schema("public_key without value", "schema.required", _data("public_key", to={"type": "ed25519-base16"}))
    schema("unknown member in public_key", "schema.additional", _data("public_key", "extra", to=1))
    for other in _NO_KEY_TYPES:
        schema(f"key type {other!r}", "schema.enum", _data("public_key", "type", to=other))
    for other in _NO_TEXTS:
        schema(f"key {other!r}", "schema.type", _data("public_key", "value", to=other))

    def key(what: str, rule: str, kind: str, value: str) -> None:
        change = _data("public_key", to={"type": f"ed25519-{kind}", "value": value})
        VALIDATOR_ELECTION.add(what, InvalidPublicKey, rule, ALL, _with(_upsert, change))

    raw = raw_key("candidate")
    texts = {kind.removeprefix("ed25519-"): encode(raw).decode() for kind, encode in ENCODERS.items()}
    unreadable = {
        "base16": [texts["base16"].lower(), texts["base16"][:-1], f" {texts['base16']}", "Ä" * 64, ""],
        "base32": [texts["base32"].lower(), texts["base32"].rstrip("="), texts["base32"] + "=", "1" * 56, ""],
        "base64": [
            texts["base64"].rstrip("="),
            texts["base64"] + "\n",
            texts["base64"][:5] + "-" + texts["base64"][5:],
            texts["base64"] + texts["base64"],
            "",
        ],
    }
    for kind, values in unreadable.items():
        for number, value in enumerate(values, 1):
            key(f"unreadable {kind} key, {number}", "election.key_encoding", kind, value)
    for kind, encode in ENCODERS.items():
        short = kind.removeprefix("ed25519-")
        key(f"key of 31 bytes in {short}", "election.key_size", short, encode(raw[:31]).decode())
        key(f"key of 33 bytes in {short}", "election.key_size", short, encode(raw + b"x").decode())
    zeros = base64.b64encode(bytes(32)).decode()
    key("key that no output can list", "election.key_text", "base64", zeros)


_register_candidates()


def _register_powers() -> None:
    def power(what: str, rule: str, value: int, candidate: Callable[[Scene], str]) -> None:
        VALIDATOR_ELECTION.add(
            what,
            InvalidPowerChange,
            rule,
            ALL,
            lambda scene: scene.build.validator_election(POWERS, candidate(scene), value, seed=scene.who("seed")),
        )

    third = -(-POWER // 3)
    power("a third of the power for a stranger", "election.power", third, lambda scene: scene.alice)
    power("a third of the power for the validator", "election.power", third, lambda scene: VALIDATOR)
    power("all of the power", "election.power", POWER, lambda scene: scene.alice)
    power("removal of a stranger", "election.unknown_validator", 0, lambda scene: scene.alice)
    power("removal of the last validator", "election.last_validator", 0, lambda scene: VALIDATOR)
    power("a total beyond the engine's bound", "election.total", 11, lambda scene: scene.alice)


_register_powers()


# VOTE


def _partly(scene: Scene, election: Built, *, metadata: str = "") -> Draft:
    """A vote with one share; the validator keeps the rest, far too much for a majority."""
    shares: Shares = [(1, ballot_box(election.id)), (POWER - 1, VALIDATOR)]
    return scene.build.draft_vote([election.spend()], shares, metadata=metadata or None)


def _stolen(election: Built, thief: str) -> Spend:
    spend = election.spend()
    return Spend(spend.transaction_id, 0, thief, spend.asset_id)


@VOTE.case("by a stranger", InvalidSignature, "signature.condition")
def _vote_by_stranger(scene: Scene) -> Built:
    return scene.build.vote([_stolen(scene.election(), scene.alice)], amount=POWER)


@VOTE.case("by a stranger in the validator's name", InvalidSignature, "signature.condition")
def _vote_forged(scene: Scene) -> Built:
    draft = scene.build.draft_vote([_stolen(scene.election(), scene.alice)], amount=POWER)
    return draft.changed(put("inputs", 0, "owners_before", to=[public_key(VALIDATOR)])).signed()


@VOTE.case("a second time", DoubleSpend, "input.unspent")
def _vote_again(scene: Scene) -> Built:
    return scene.keep(_partly(scene, scene.election()).signed())


@VOTE.case("a second time with other metadata", DoubleSpend, "input.unspent")
def _vote_again_changed(scene: Scene) -> Built:
    election = scene.election()
    scene.keep(_partly(scene, election).signed())
    other: Any = scene.build.dialect.content("again")
    return _partly(scene, election, metadata=other).signed()


@VOTE.case("a second time with everything", DoubleSpend, "input.unspent")
def _vote_again_more(scene: Scene) -> Built:
    election = scene.election()
    scene.keep(_partly(scene, election).signed())
    return scene.build.vote([election.spend()], amount=POWER)


@VOTE.case("with shares that were given away", DoubleSpend, "input.unspent")
def _vote_given_away(scene: Scene) -> Built:
    election = scene.election()
    scene.keep(scene.build.transfer([election.spend()], [(POWER, scene.alice)]))
    return scene.build.vote([election.spend()], amount=POWER)


@VOTE.case("with votes that were cast", InvalidSignature, "signature.condition")
def _vote_cast(scene: Scene) -> Built:
    election = scene.election()
    cast = scene.keep(_partly(scene, election).signed())
    return scene.build.vote([Spend(cast.id, 0, VALIDATOR, election.id)], amount=1)


@VOTE.case("with the same shares twice", DoubleSpend, "input.twice")
def _vote_twice_inside(scene: Scene) -> Built:
    spend = scene.election().spend()
    return scene.build.vote([spend, spend], amount=2 * POWER)


@VOTE.case("with more than was there", AmountError, "transfer.amounts")
def _vote_more(scene: Scene) -> Built:
    return scene.build.vote([scene.election().spend()], amount=POWER + 1)


@VOTE.case("with less than was there", AmountError, "transfer.amounts")
def _vote_less(scene: Scene) -> Built:
    return scene.build.vote([scene.election().spend()], amount=1)


@VOTE.case("without outputs", AmountError, "transfer.amounts")
def _vote_nothing(scene: Scene) -> Built:
    return scene.build.vote([scene.election().spend()], [])


@VOTE.case("in an election that does not exist", InputDoesNotExist, "input.exists")
def _vote_nowhere(scene: Scene) -> Built:
    return scene.build.vote([Spend(_NOWHERE, 0, VALIDATOR, _NOWHERE)], amount=POWER)


@VOTE.case("in another election than the shares'", AssetIdMismatch, "transfer.asset")
def _vote_elsewhere(scene: Scene) -> Built:
    first, second = scene.election("first"), scene.election("second")
    return scene.build.vote([Spend(first.id, 0, VALIDATOR, second.id)], amount=POWER)


@VOTE.case("with shares of two elections", AssetIdMismatch, "transfer.one_asset")
def _vote_two_elections(scene: Scene) -> Built:
    first, second = scene.election("first"), scene.election("second")
    return scene.build.vote([first.spend(), second.spend()], amount=2 * POWER)


@VOTE.case("for the election, locked to the voter", ValidationError, "output.public_keys")
def _vote_locked(scene: Scene) -> Built:
    election = scene.election()
    address = ballot_box(election.id).public_key
    kept = {**output(POWER, VALIDATOR), "public_keys": [address]}
    return scene.build.draft_vote([election.spend()], amount=POWER).changed(put("outputs", 0, to=kept)).signed()


def _register_votes() -> None:
    def vote(change: Change) -> Play:
        return lambda scene: (
            scene.build.draft_vote([scene.election().spend()], amount=POWER).changed(change).signed()
        )

    def twice(wire: Wire) -> None:
        wire["outputs"][0]["public_keys"] *= 2

    for what, change in {
        "no key": put("outputs", 0, "public_keys", to=[]),
        "keys null": put("outputs", 0, "public_keys", to=None),
        "its key twice": twice,
    }.items():
        VOTE.add(f"an output with {what}", ValidationError, "vote.locked", ALL, vote(change))
    VOTE.schema(
        "an output for one of two",
        "schema.ed25519",
        vote(put("outputs", 0, to=output(POWER, m_of_n(1, VALIDATOR, "somebody")))),
    )
    VOTE.schema("fulfills null", "schema.type", vote(put("inputs", 0, "fulfills", to=None)))
    VOTE.schema("asset with data", "schema.required", vote(_asset({"data": "x"})))
    VOTE.schema("asset with an id that is none", "schema.pattern", vote(_asset({"id": "x"})))
    VOTE.schema("asset with data besides", "schema.additional", vote(lambda wire: _subject(wire).update(data="x")))


_register_votes()

__all__ = ["MIGRATION_ELECTION", "POWER", "VALIDATORS", "VALIDATOR_ELECTION"]
