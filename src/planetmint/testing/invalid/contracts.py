# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts that a chain with contracts refuses: their form, their bounds, what they answer, and thieves.

`BOUND` is for a chain of mode ``bound`` that runs scripts, `PUBLISHED` for one of mode ``published``. Mallory is
the thief: she has keys of her own, everything that was ever sent, and no key of alice's.
Sources: transactions 5.4 and 6, consensus-and-storage 8.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from planetmint.conditions import (
    contract_condition,
    contract_fulfillment,
    derive_condition,
    encode_fulfillment,
    fulfill,
    fulfillment_uri,
)
from planetmint.conditions.types import ED25519, THRESHOLD, ZENROOM
from planetmint.model import json
from planetmint.model.condition import (
    Condition,
    Fulfillment,
    ThresholdFulfillment,
    ZenroomFulfillment,
)
from planetmint.model.errors import (
    DoubleSpend,
    DuplicateTransaction,
    InvalidScript,
    InvalidSignature,
    SchemaValidationError,
    ValidationError,
)
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ChainParameters
from planetmint.testing.build import (
    Built,
    Contract,
    Dialect,
    Draft,
    Owner,
    Spend,
    Wire,
    all_of,
    details,
    identified,
    m_of_n,
    message,
    output,
    public_key,
    seed,
    uri,
)
from planetmint.testing.invalid.case import (
    ALL,
    POWERS,
    VALIDATOR,
    VERSION_3,
    Change,
    Group,
    Play,
    Scene,
    create_with,
    put,
)

_BOUNDS = ChainParameters().contracts

OUTPUTS = Group("contract in an output")
FULFILLMENTS = Group("contract in a fulfillment")
THEFT = Group("theft from a contract")
LEAVES = Group("contract of an owner")
SCRIPTS = Group("script that runs")
ELECTORAL = Group("contract in an election")
HISTORIC = Group("published contract")

WORD = """Given I have a 'string' named 'word'
Given I have a 'string' named 'key'
When I verify 'word' is equal to 'key'
Then print the string 'ok'
"""
"""Prints ``ok`` where the word in the data is the key in the keys, which the spender gives both."""

ECHO = "Given I have a 'string' named 'word'\nThen print the string 'ok'\n"
"""Prints ``ok`` where there is a word."""

OPEN = Contract(WORD, None, {"key": "open"})
"""A contract and the key that opens it."""

_GIVEN: JsonObject = {"word": "open"}
_PRINTED: JsonValue = ["ok"]


def scripted(draft: Draft) -> Draft:
    """With a script that `OPEN` is content with, and that is itself content in 3.0."""
    return draft.scripted(_GIVEN, _PRINTED, code=ECHO)


def _create(scene: Scene, owner: Owner) -> Draft:
    """A CREATE by `owner`, scripted; its output is alice's alone."""
    return scripted(scene.build.draft_create(owner, [(1, scene.alice)], data=scene.alice))


def sealed(draft: Draft, make: Callable[[bytes], Fulfillment]) -> Built:
    """A finished draft of one input, whose fulfillment `make` made over its message."""
    fulfillment = make(message(draft.wire, 0))
    changed = draft.changed(put("inputs", 0, "fulfillment", to=encode_fulfillment(fulfillment)))
    wire = identified(changed.wire)
    return Built(wire, draft.owners, draft.asset_id or wire["id"])


def _sign(name: str, over: bytes) -> Fulfillment:
    return fulfill(details(name), over, [seed(name)])


def _given(contract: Contract) -> ZenroomFulfillment:
    return contract_fulfillment(contract.script, contract.data, contract.keys)


# Outputs


def _guarded(scene: Scene, change: Change, owner: Owner | None = None) -> Built:
    """A CREATE whose output alice and a contract guard, changed before it is signed."""
    owner = owner or all_of(scene.alice, OPEN)
    return scene.build.draft_create(scene.alice, [(1, owner)], data=scene.alice).changed(change).signed()


def _output(make: Callable[[Scene], Owner]) -> Play:
    """The output of `make`'s owner, exactly as its owner would have it."""
    return lambda scene: _guarded(scene, lambda wire: None, make(scene))


_BARE: Mapping[str, Callable[[Scene], Owner]] = {
    "bare": lambda scene: OPEN,
    "in a threshold of contracts": lambda scene: m_of_n(1, OPEN, replace(OPEN, script=ECHO)),
    "in a threshold alone": lambda scene: all_of(all_of(OPEN)),
}
for _what, _owner in _BARE.items():
    OUTPUTS.add(_what, InvalidSignature, "contracts.bound", ALL, _output(_owner))


@OUTPUTS.case("bare, with an owner's key listed", InvalidSignature, "contracts.bound")
def _bare_listed(scene: Scene) -> Built:
    return _guarded(scene, put("outputs", 0, "public_keys", to=[public_key(scene.alice)]), OPEN)


@OUTPUTS.case("bare, under the URI of a key", InvalidSignature, "contracts.bound")
def _bare_under_a_key(scene: Scene) -> Built:
    return _guarded(scene, put("outputs", 0, "condition", "uri", to=uri(scene.alice)), OPEN)


_NOBODY: Mapping[str, JsonValue] = {"nobody": [], "null": None}
for _what, _keys in _NOBODY.items():

    @OUTPUTS.case(f"of {_what}", ValidationError, "output.public_keys")
    def _of_nobody(scene: Scene, keys: JsonValue = _keys) -> Built:
        return _guarded(scene, put("outputs", 0, "public_keys", to=keys))


@OUTPUTS.case("of the contract's own key", ValidationError, "output.public_keys")
def _of_the_contract(scene: Scene) -> Built:
    return _guarded(scene, put("outputs", 0, "public_keys", to=[public_key(OPEN.shown)]))


@OUTPUTS.case("of a key outside", ValidationError, "output.public_keys")
def _of_another(scene: Scene) -> Built:
    return _guarded(scene, put("outputs", 0, "public_keys", to=[public_key(scene.alice), public_key(scene.bob)]))


def _uri(change: Callable[[str], str]) -> Play:
    """The URI over alice and a contract, after `change` was made to its text."""

    def apply(wire: Wire) -> None:
        condition = wire["outputs"][0]["condition"]
        condition["uri"] = change(condition["uri"])

    return lambda scene: _guarded(scene, apply)


_RESPELLED: Mapping[str, Callable[[str], str]] = {
    "with the URI of a key of the sender": lambda text: uri("mallory"),
    "with the URI of keys of the sender": lambda text: uri(all_of("mallory", "mallory")),
    "with a bare contract's URI": lambda text: uri(OPEN),
    "with a URI of contracts alone": lambda text: uri(all_of(OPEN, OPEN)),
    "with a key's type in the URI": lambda text: text.replace("fpt=threshold", "fpt=ed25519"),
    "without subtypes in the URI": lambda text: text.partition("&subtypes")[0],
    "without a key in the URI": lambda text: text.replace("ed25519-sha-256,", ""),
    "without a contract in the URI": lambda text: text.replace(",zenroom-sha-256", ""),
    "with a threshold in the URI's subtypes": lambda text: text.replace("zenroom", "threshold-sha-256,zenroom"),
    "with subtypes in another order": lambda text: text.replace(
        "ed25519-sha-256,zenroom-sha-256", "zenroom-sha-256,ed25519-sha-256"
    ),
    "with another cost in the URI": lambda text: text.replace("cost=264192", "cost=264191"),
    "with a cost of more digits": lambda text: text.replace("cost=264192", "cost=0264192"),
    "with an ampersand behind the URI": lambda text: text + "&",
    "with a short fingerprint": lambda text: text[:14] + text[15:],
    "with loose bits in the fingerprint": lambda text: text[:56] + "_" + text[57:],
    "without a fingerprint": lambda text: text[:14] + text[57:],
}
for _what, _respell in _RESPELLED.items():
    OUTPUTS.add(_what, SchemaValidationError, "schema.uri", ALL, _uri(_respell))


# Fulfillments


def _bare_create(make: Callable[[Scene], Fulfillment]) -> Play:
    """A CREATE in alice's name with a fulfillment in which no key signs."""
    return lambda scene: sealed(_create(scene, scene.alice), lambda over: make(scene))


_KEYLESS: Mapping[str, Callable[[Scene], Fulfillment]] = {
    "bare": lambda scene: _given(OPEN),
    "in a threshold of contracts": lambda scene: ThresholdFulfillment((_given(OPEN),), ()),
    "beside a key that does not sign": lambda scene: ThresholdFulfillment(
        (_given(OPEN),), (_condition_of(scene.alice),)
    ),
    "below a threshold, beside a key that does not sign": lambda scene: ThresholdFulfillment(
        (ThresholdFulfillment((_given(OPEN),), (_condition_of(scene.alice),)),), ()
    ),
}
for _what, _make in _KEYLESS.items():
    FULFILLMENTS.add(f"{_what}, on CREATE", InvalidSignature, "contracts.bound", ALL, _bare_create(_make))


def _condition_of(name: str) -> Condition:
    """The condition of somebody's key."""
    condition = derive_condition(details(name))
    assert condition is not None
    return condition


@FULFILLMENTS.case("signed for by another, on CREATE", InvalidSignature, "signature.owners")
def _create_for_another(scene: Scene) -> Built:
    draft = _create(scene, all_of(scene.bob, OPEN))
    return draft.changed(put("inputs", 0, "owners_before", to=[public_key(scene.alice)])).signed()


@FULFILLMENTS.case("whose own key is an owner, on CREATE", InvalidSignature, "signature.owners")
def _create_contract_as_owner(scene: Scene) -> Built:
    keys = [public_key(scene.alice), public_key(OPEN.shown)]
    draft = _create(scene, all_of(scene.alice, OPEN))
    return draft.changed(put("inputs", 0, "owners_before", to=keys)).signed()


@FULFILLMENTS.case("of nobody, on CREATE", InvalidSignature, "signature.owners")
def _create_of_nobody(scene: Scene) -> Built:
    draft = _create(scene, all_of(scene.alice, OPEN))
    return draft.changed(put("inputs", 0, "owners_before", to=[])).signed()


@FULFILLMENTS.case("beside a lifted signature, on CREATE", InvalidSignature, "signature")
def _create_lifted(scene: Scene) -> Built:
    sent = _create(scene, all_of(scene.alice, OPEN)).signed()
    draft = _create(scene, all_of(scene.alice, OPEN))
    changed = draft.changed(put("outputs", 0, to=output(1, scene.bob)))
    lifted = put("inputs", 0, "fulfillment", to=sent.wire["inputs"][0]["fulfillment"])
    return Built(identified(changed.changed(lifted).wire))


@FULFILLMENTS.case("beside a lifted signature over a result, on CREATE", InvalidSignature, "signature")
def _create_other_result(scene: Scene) -> Built:
    sent = _create(scene, all_of(scene.alice, OPEN)).signed()
    return sent.changed(put("script", "policies", to={}))


@FULFILLMENTS.case("the same CREATE again", DuplicateTransaction, "create.duplicate")
def _create_again(scene: Scene) -> Built:
    return scene.keep(_create(scene, all_of(scene.alice, OPEN)).signed())


# Theft, by each operation that spends: with keys of mallory's own, replayed results, lifted signatures, false URIs


@dataclass(frozen=True, slots=True)
class _Theft:
    """One operation as a thief's tool, in one scene."""

    scene: Scene
    operation: str

    @property
    def mallory(self) -> str:
        """The thief."""
        return self.scene.who("mallory")

    @property
    def item(self) -> str:
        """What an output of a DECOMPOSE stands for."""
        return self.scene.who("item")

    def guard(self, owner: Owner, committed: str | None = None) -> Spend:
        """A kept output of 1 share of which alice is the only owner listed.

        Args:
            owner: Who can spend it, as its details show.
            committed: The URI that stands there instead of the owner's.
        """
        build, number = self.scene.build, len(self.scene.before)
        if self.operation == "CREATE":
            gold = self.scene.asset(f"gold {number}", amount=1)
            draft = build.draft_decompose(gold.spend(), [self.item], [(1, owner)])
        else:
            draft = build.draft_create(self.scene.alice, [(1, owner)], data=self.scene.who(f"guarded {number}"))
        draft = draft.changed(put("outputs", 0, "public_keys", to=[public_key(self.scene.alice)]))
        if committed is not None:
            draft = draft.changed(put("outputs", 0, "condition", "uri", to=committed))
        return self.scene.keep(draft.signed()).spend()

    def take(self, spend: Spend, by: str) -> Draft:
        """A scripted spending of `spend` in favour of `by`, in whose name it is where that counts."""
        build = self.scene.build
        match self.operation:
            case "CREATE":
                draft = build.draft_create(by, data=self.item, consumes=spend)
            case "COMPOSE":
                draft = build.draft_compose([spend], [(1, by)], data=self.scene.who("new"))
            case "DECOMPOSE":
                draft = build.draft_decompose(spend, [self.scene.who("part")], [(1, by)])
            case _:
                draft = build.draft_transfer([spend], [(1, by)])
        return scripted(draft)

    def lift(self, spend: Spend, sent: Built) -> Built:
        """A spending of `spend` in mallory's favour under the fulfillment of `sent`."""
        draft = self.take(spend, self.mallory)
        lifted = put("inputs", 0, "fulfillment", to=sent.wire["inputs"][0]["fulfillment"])
        named = put("inputs", 0, "owners_before", to=[public_key(self.scene.alice)])
        return Built(identified(draft.changed(named).changed(lifted).wire))


_OPERATIONS = ("TRANSFER", "COMPOSE", "DECOMPOSE", "CREATE")


def _theft(what: str, rule: str) -> Callable[[Callable[[_Theft], Built]], Callable[[_Theft], Built]]:
    """Decorate a function that plays a theft: it is tried by every operation, each is refused by this rule."""

    def register(play: Callable[[_Theft], Built]) -> Callable[[_Theft], Built]:
        for operation in _OPERATIONS:

            def played(scene: Scene, operation: str = operation) -> Built:
                return play(_Theft(scene, operation))

            dialects = ALL if operation == "TRANSFER" else VERSION_3
            THEFT.add(f"{what}, by {operation}", InvalidSignature, rule, dialects, played)
        return play

    return register


@_theft("the contract alone, opened by the thief's own key", "contracts.bound")
def _contract_alone(theft: _Theft) -> Built:
    draft = theft.take(theft.guard(m_of_n(1, theft.scene.alice, OPEN)), theft.mallory)
    others = (_condition_of(theft.scene.alice),)
    return sealed(draft, lambda over: ThresholdFulfillment((_given(OPEN),), others))


@_theft("the thief's key in place of the owner's", "signature.condition")
def _key_exchanged(theft: _Theft) -> Built:
    spend = theft.guard(all_of(theft.scene.alice, OPEN))
    return theft.take(replace(spend, owner=all_of(theft.mallory, OPEN)), theft.mallory).signed()


@_theft("an easier contract in place of the owner's", "signature.condition")
def _contract_exchanged(theft: _Theft) -> Built:
    spend = theft.guard(all_of(theft.scene.alice, OPEN))
    return theft.take(replace(spend, owner=all_of(theft.scene.alice, Contract(ECHO))), theft.scene.alice).signed()


@_theft("the owner without the contract", "signature.condition")
def _contract_left_out(theft: _Theft) -> Built:
    alice = theft.scene.alice
    draft = theft.take(theft.guard(all_of(alice, OPEN)), alice)
    return sealed(draft, lambda over: ThresholdFulfillment((_sign(alice, over),), (contract_condition(WORD),)))


@_theft("the owner twice without the contract", "signature.condition")
def _owner_twice(theft: _Theft) -> Built:
    alice = theft.scene.alice
    draft = theft.take(theft.guard(all_of(alice, OPEN)), alice)
    return sealed(draft, lambda over: ThresholdFulfillment((_sign(alice, over),) * 2, (contract_condition(WORD),)))


@_theft("a signature lifted from the owner's own spending", "signature")
def _lifted(theft: _Theft) -> Built:
    spend = theft.guard(all_of(theft.scene.alice, OPEN))
    return theft.lift(spend, theft.take(spend, theft.scene.alice).signed())


@_theft("a signature lifted from a spending of a like output", "signature")
def _lifted_from_another(theft: _Theft) -> Built:
    both = all_of(theft.scene.alice, OPEN)
    sent = theft.scene.keep(theft.take(theft.guard(both), theft.scene.alice).signed())
    return theft.lift(theft.guard(both), sent)


@_theft("another script under the owner's signature", "signature")
def _result_changed(theft: _Theft) -> Built:
    draft = theft.take(theft.guard(all_of(theft.scene.alice, OPEN)), theft.scene.alice)
    return draft.signed().changed(put("script", "policies", to={}))


@_theft("somebody in the condition who is no owner", "contracts.owners")
def _unlisted(theft: _Theft) -> Built:
    spend = theft.guard(m_of_n(1, theft.scene.alice, theft.mallory, OPEN))
    return theft.take(spend.by(theft.mallory), theft.mallory).signed()


@_theft("somebody in the condition who is no owner, and the contract", "contracts.owners")
def _unlisted_with_contract(theft: _Theft) -> Built:
    spend = theft.guard(m_of_n(2, theft.scene.alice, theft.mallory, OPEN))
    return theft.take(spend.by(theft.mallory), theft.mallory).signed()


@_theft("a URI that commits to the thief's key and the contract", "contracts.owners")
def _committed_to_thief(theft: _Theft) -> Built:
    mallorys = all_of(theft.mallory, OPEN)
    spend = theft.guard(all_of(theft.scene.alice, OPEN), uri(mallorys))
    return theft.take(replace(spend, owner=mallorys), theft.mallory).signed()


_HIDDEN: Mapping[str, Condition] = {
    "a condition that says there are contracts below": Condition(
        THRESHOLD, bytes(32), 262_144, frozenset({ED25519, ZENROOM})
    ),
    "the condition of a contract that nobody knows": Condition(ZENROOM, bytes(32), 262_144),
}
"""Their cost is such that one of two costs as much as both of alice and a contract."""

for _what, _hidden in _HIDDEN.items():

    @_theft(f"a URI that commits to the thief's key or {_what}", "contracts.owners")
    def _committed_to_either(theft: _Theft, hidden: Condition = _hidden) -> Built:
        def mine(over: bytes) -> Fulfillment:
            return ThresholdFulfillment((_sign(theft.mallory, over),), (hidden,))

        spend = theft.guard(all_of(theft.scene.alice, OPEN), fulfillment_uri(mine(bytes(32))))
        return sealed(theft.take(spend, theft.mallory), mine)


@THEFT.case("the same spending again", DoubleSpend, "input.unspent")
def _again(scene: Scene) -> Built:
    theft = _Theft(scene, "TRANSFER")
    return scene.keep(theft.take(theft.guard(all_of(scene.alice, OPEN)), scene.bob).signed())


@THEFT.case("the same spending again, with other keys for the contract", DoubleSpend, "input.unspent")
def _again_with_other_keys(scene: Scene) -> Built:
    theft = _Theft(scene, "TRANSFER")
    spend = theft.guard(all_of(scene.alice, OPEN))
    scene.keep(theft.take(spend, scene.bob).signed())
    other = replace(OPEN, keys={"key": "open", "more": "open"})
    return theft.take(replace(spend, owner=all_of(scene.alice, other)), scene.bob).signed()


# Contracts of owners, which do not say what they should, or are too much to ask


def _beside_alice(leaf: ZenroomFulfillment, count: int = 1) -> Play:
    """A CREATE by alice with `leaf` beside her signature."""

    def play(scene: Scene) -> Built:
        draft = _create(scene, scene.alice)
        return sealed(draft, lambda over: ThresholdFulfillment((_sign(scene.alice, over), *[leaf] * count), ()))

    return play


def _leaf(script: str, data: bytes = b"null", keys: bytes = b'{"key": "open"}') -> ZenroomFulfillment:
    return ZenroomFulfillment(script.encode(), data, keys)


_LONG = "# " + "x" * _BOUNDS.max_bytes
_MANY = "Given I have a 'string' named 'word'\n" * (_BOUNDS.max_statements + 1)
_DEBUG = ECHO + "And debug\n"
_NUMBER = f"When I create the array of '{_BOUNDS.max_number + 1}' random objects\nThen print the 'array'\n"
_LARGE: JsonObject = {"word": "x" * _BOUNDS.max_data_bytes}

_REFUSED_LEAVES: Mapping[str, tuple[ZenroomFulfillment, str]] = {
    "that the key does not open": (_leaf(WORD, keys=b'{"key": "shut"}'), "contract.failed"),
    "without its key": (_leaf(WORD, keys=b"null"), "contract.failed"),
    "that prints something else": (_leaf(ECHO.replace("'ok'", "'other'")), "contract.output"),
    "without a text": (_leaf(""), "contract.failed"),
    "of too many bytes": (_leaf(_LONG), "contract.bytes"),
    "that is not UTF-8": (ZenroomFulfillment(b"\xff", b"null", b"null"), "contract.bytes"),
    "with NUL": (_leaf(ECHO + "\0"), "contract.bytes"),
    "of too many statements": (_leaf(_MANY), "contract.statements"),
    "with a statement for debugging": (_leaf(_DEBUG), "contract.debug"),
    "with too large a number": (_leaf(_NUMBER), "contract.number"),
    "with too much data": (_leaf(WORD, json.canonical({"a": "x" * _BOUNDS.max_data_bytes})), "contract.data"),
    "with too many keys": (_leaf(WORD, keys=json.canonical(_LARGE)), "contract.data"),
    "whose data is no JSON": (_leaf(WORD, b"{'word': 1}"), "contract.data"),
    "whose data is empty": (_leaf(WORD, b""), "contract.data"),
    "whose data is a list": (_leaf(WORD, b"[]"), "contract.data"),
    "whose data is true": (_leaf(WORD, b"true"), "contract.data"),
    "whose data is too deep": (_leaf(WORD, b'{"a":' * 401 + b"1" + b"}" * 401), "contract.data"),
    "whose keys are no JSON": (_leaf(WORD, keys=b"None"), "contract.data"),
    "whose keys are a text": (_leaf(WORD, keys=b'"key"'), "contract.data"),
    "whose keys are NaN": (_leaf(WORD, keys=b'{"key": NaN}'), "contract.data"),
}
for _what, (_given_leaf, _rule) in _REFUSED_LEAVES.items():
    LEAVES.add(_what, InvalidSignature, _rule, ALL, _beside_alice(_given_leaf))
LEAVES.add(
    "more often than a block may run any",
    InvalidSignature,
    "contract.count",
    ALL,
    _beside_alice(_leaf(""), _BOUNDS.max_per_block + 1),
)


@LEAVES.case("without a script", InvalidSignature, "contract.script")
def _leaf_without_script(scene: Scene) -> Built:
    return scene.build.create(all_of(scene.alice, OPEN), [(1, scene.alice)])


@LEAVES.case("second input's alone", InvalidSignature, "contract.failed")
def _leaf_of_second_input(scene: Scene) -> Built:
    good, bad = OPEN, replace(OPEN, keys={"key": "shut"})
    owners = [all_of(scene.alice, contract) for contract in (good, bad)]
    gold = scene.keep(scene.build.create(scene.alice, [(1, owner) for owner in owners], data=scene.alice))
    return scripted(scene.build.draft_transfer([gold.spend(0), gold.spend(1)], [(2, scene.bob)])).signed()


# Scripts of 3.0


def _runs(code: str, given: JsonObject | None = None, expected: JsonValue = None) -> Change:
    script = {"code": code, "state": "0" * 64, "inputs": given or _GIVEN, "outputs": expected or _PRINTED}
    return put("script", to=script)


_REFUSED_SCRIPTS: Mapping[str, tuple[Change, str]] = {
    "and prints something else": (_runs(ECHO, expected=["other"]), "contract.output"),
    "and prints a list, not its member": (_runs(ECHO, expected={"output": ["ok"]}), "contract.output"),
    "and prints an object": (
        _runs("Given I have a 'string' named 'word'\nThen print the 'word'"),
        "contract.output",
    ),
    "without its word": (_runs(ECHO, {"other": "open"}), "contract.failed"),
    "without a text": (_runs(""), "contract.failed"),
    "and is not Zencode": (_runs("print('ok')"), "contract.failed"),
    "of too many bytes": (_runs(_LONG), "contract.bytes"),
    "with NUL": (_runs(ECHO + "\0"), "contract.bytes"),
    "of too many statements": (_runs(_MANY), "contract.statements"),
    "with a statement for debugging": (_runs(_DEBUG), "contract.debug"),
    "with too large a number": (_runs(_NUMBER), "contract.number"),
    "with too much data": (_runs(ECHO, _LARGE), "contract.data"),
}
for _what, (_change, _rule) in _REFUSED_SCRIPTS.items():
    SCRIPTS.add(_what, InvalidScript, _rule, VERSION_3, create_with(_change))

_OTHER = _runs(ECHO, expected=["other"])


def _every_operation(scene: Scene) -> Mapping[str, Callable[[], Draft]]:
    """A valid draft of each operation."""
    build, alice = scene.build, scene.alice
    return {
        "CREATE": lambda: build.draft_create(alice, data=alice),
        "TRANSFER": lambda: build.draft_transfer([scene.asset().spend()], scene.to_bob()),
        "COMPOSE": lambda: build.draft_compose([scene.asset().spend()], [(1, alice)], data=alice),
        "DECOMPOSE": lambda: build.draft_decompose(scene.asset().spend(), [alice]),
        "VALIDATOR_ELECTION": lambda: build.draft_validator_election(POWERS, alice, 1, seed=alice),
        "CHAIN_MIGRATION_ELECTION": lambda: build.draft_migration_election(POWERS, seed=alice),
        "VOTE": lambda: build.draft_vote([scene.election().spend()], [(POWERS[VALIDATOR], alice)]),
    }


for _operation in _every_operation(Scene(Dialect.PLANETMINT_2, "")):

    @SCRIPTS.case(f"and prints something else, on {_operation}", InvalidScript, "contract.output", VERSION_3)
    def _script_of(scene: Scene, operation: str = _operation) -> Built:
        return _every_operation(scene)[operation]().changed(_OTHER).signed()


@SCRIPTS.case("changed after it was signed", InvalidSignature, "signature", VERSION_3)
def _script_changed(scene: Scene) -> Built:
    built = scene.build.draft_create(scene.alice, data=scene.alice).changed(_runs(ECHO)).signed()
    return built.changed(put("script", "inputs", to={"word": "other"}))


# Elections and votes


_Opening = Callable[[Scene, Owner], Draft]
_OPENINGS: Mapping[str, _Opening] = {
    "VALIDATOR_ELECTION": lambda scene, by: scene.build.draft_validator_election(
        POWERS, scene.alice, 1, by=by, seed=scene.alice
    ),
    "CHAIN_MIGRATION_ELECTION": lambda scene, by: scene.build.draft_migration_election(
        POWERS, by=by, seed=scene.alice
    ),
}
for _name, _opening in _OPENINGS.items():

    @ELECTORAL.case(f"opens {_name}", InvalidSignature, "contracts.electoral")
    def _opened(scene: Scene, opening: _Opening = _opening) -> Built:
        return scripted(opening(scene, all_of(VALIDATOR, OPEN))).signed()

    @ELECTORAL.case(f"opens {_name} alone", InvalidSignature, "contracts.electoral")
    def _opened_alone(scene: Scene, opening: _Opening = _opening) -> Built:
        return sealed(scripted(opening(scene, VALIDATOR)), lambda over: _given(OPEN))

    @ELECTORAL.case(f"is shown in {_name}", InvalidSignature, "contracts.electoral")
    def _shown(scene: Scene, opening: _Opening = _opening) -> Built:
        shown = (contract_condition(WORD),)
        draft = opening(scene, VALIDATOR)
        return sealed(draft, lambda over: ThresholdFulfillment((_sign(VALIDATOR, over),), shown))

    @ELECTORAL.case(f"guards an output of {_name}", SchemaValidationError, "schema.ed25519")
    def _guards(scene: Scene, opening: _Opening = _opening) -> Built:
        guarded = output(POWERS[VALIDATOR], all_of(VALIDATOR, OPEN))
        return opening(scene, VALIDATOR).changed(put("outputs", 0, to=guarded)).signed()


@ELECTORAL.case("votes beside the validator", InvalidSignature, "contracts.electoral")
def _votes(scene: Scene) -> Built:
    spend = replace(scene.election().spend(), owner=all_of(VALIDATOR, OPEN))
    return scripted(scene.build.draft_vote([spend], [(POWERS[VALIDATOR], scene.alice)])).signed()


@ELECTORAL.case("guards shares that vote", InvalidSignature, "contracts.electoral")
def _guarded_shares(scene: Scene) -> Built:
    shares = [(POWERS[VALIDATOR], all_of(scene.alice, OPEN))]
    moved = scene.keep(scene.build.transfer([scene.election().spend()], shares))
    return scripted(scene.build.draft_vote([moved.spend()], [(POWERS[VALIDATOR], scene.alice)])).signed()


@ELECTORAL.case("guards an output of VOTE", SchemaValidationError, "schema.ed25519")
def _vote_for_contract(scene: Scene) -> Built:
    shares = [(POWERS[VALIDATOR], all_of(scene.alice, OPEN))]
    return scene.build.vote([scene.election().spend()], shares)


# The historic semantics: whoever satisfies the contract spends


def _historic(scene: Scene, owner: Owner = OPEN) -> Spend:
    """A kept output of 1 share that a contract alone guards, created by alice."""
    return scene.keep(scene.build.create(scene.alice, [(1, owner)], data=scene.alice)).spend()


def _taken(scene: Scene, spend: Spend, owner: Owner) -> Draft:
    return scripted(scene.build.draft_transfer([replace(spend, owner=owner)], [(1, scene.bob)]))


_REFUSED_KEYS: Mapping[str, tuple[Contract, str]] = {
    "that the key does not open": (replace(OPEN, keys={"key": "shut"}), "contract.failed"),
    "of another text": (replace(OPEN, script=ECHO), "signature.condition"),
}
for _what, (_other, _rule) in _REFUSED_KEYS.items():

    @HISTORIC.case(_what, InvalidSignature, _rule)
    def _historic_other(scene: Scene, other: Contract = _other) -> Built:
        return _taken(scene, _historic(scene), other).signed()


@HISTORIC.case("that prints something else", InvalidSignature, "contract.output")
def _historic_output(scene: Scene) -> Built:
    other = Contract(ECHO.replace("'ok'", "'other'"))
    return _taken(scene, _historic(scene, other), other).signed()


@HISTORIC.case("without a script", InvalidSignature, "contract.script")
def _historic_without_script(scene: Scene) -> Built:
    return scene.build.transfer([_historic(scene)], [(1, scene.bob)])


@HISTORIC.case("beside a bad signature", InvalidSignature, "signature")
def _historic_bad_signature(scene: Scene) -> Built:
    both = all_of(scene.alice, OPEN)
    draft = _taken(scene, _historic(scene, both), both)
    return sealed(draft, lambda over: ThresholdFulfillment((_sign(scene.alice, over[::-1]), _given(OPEN)), ()))


@HISTORIC.case("beside a key, without the key", InvalidSignature, "signature.condition")
def _historic_without_key(scene: Scene) -> Built:
    return _taken(scene, _historic(scene, all_of(scene.alice, OPEN)), OPEN).signed()


@HISTORIC.case("under a URI that is none", SchemaValidationError, "schema.pattern")
def _historic_uri(scene: Scene) -> Built:
    return _guarded(scene, put("outputs", 0, "condition", "uri", to="ni:///sha-256;"), OPEN)


@HISTORIC.case("that signs for another beside a key", InvalidSignature, "signature.owners")
def _historic_key_alone(scene: Scene) -> Built:
    draft = scene.build.draft_create(scene.bob, data=scene.bob)
    return draft.changed(put("inputs", 0, "owners_before", to=[public_key(scene.alice)])).signed()


BOTH = (LEAVES, SCRIPTS, ELECTORAL)
BOUND = (OUTPUTS, FULFILLMENTS, THEFT, *BOTH)
PUBLISHED = (HISTORIC, *BOTH)
