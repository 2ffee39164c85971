# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rules that need the ledger: validation 4.1 to 4.3, row by row, and what votes share with transfers."""

from collections.abc import Sequence

from planetmint.conditions import encode_fulfillment, fulfill
from planetmint.model.condition import ThresholdFulfillment
from planetmint.model.errors import (
    AmountError,
    AssetIdMismatch,
    DoubleSpend,
    DuplicateTransaction,
    InputDoesNotExist,
    InvalidSignature,
    ValidationError,
)
from planetmint.testing.build import Built, Draft, Spend, all_of, details, m_of_n, message, public_key, seed
from planetmint.testing.invalid.case import ALL, VERSION_3, Change, Group, Scene, put

CREATE = Group("CREATE")
CONSUME = Group("CREATE from DECOMPOSE")
TRANSFER = Group("TRANSFER")
COMPOSE = Group("COMPOSE")
DECOMPOSE = Group("DECOMPOSE")
VOTE = Group("VOTE")

_NOWHERE = "0123456789abcdef" * 4
_BEYOND = {"1": 1, "2**31": 2**31, "2**63 - 1": 2**63 - 1, "2**63": 2**63, "2**64": 2**64, "10**299": 10**299}


def _forged(scene: Scene, draft: Draft, over: bytes) -> Built:
    """A finished draft with alice's signature over other bytes than those of its message."""
    signature = fulfill(details(scene.alice), over, [seed(scene.alice)])
    return draft.signed().changed(put("inputs", 0, "fulfillment", to=encode_fulfillment(signature)))


# CREATE (4.1)


@CREATE.case("the same again", DuplicateTransaction, "create.duplicate")
def _create_again(scene: Scene) -> Built:
    return scene.asset()


@CREATE.case("signature over another message", InvalidSignature, "signature")
def _create_other_message(scene: Scene) -> Built:
    return _forged(scene, scene.build.draft_create(scene.alice), bytes(32))


@CREATE.case("changed after it was signed", InvalidSignature, "signature")
def _create_changed(scene: Scene) -> Built:
    return scene.build.create(scene.alice).changed(put("outputs", 0, "amount", to="2"))


@CREATE.case("one of two signatures over another message", InvalidSignature, "signature")
def _create_one_bad(scene: Scene) -> Built:
    both = all_of(scene.alice, scene.bob)
    draft = scene.build.draft_create(both)
    over = message(draft.wire, 0)
    seeds = [seed(scene.alice), seed(scene.bob)]
    good, bad = fulfill(details(both), over, seeds), fulfill(details(both), over[::-1], seeds)
    assert isinstance(good, ThresholdFulfillment)
    assert isinstance(bad, ThresholdFulfillment)
    mixed = ThresholdFulfillment((good.fulfillments[0], bad.fulfillments[1]), ())
    return draft.signed().changed(put("inputs", 0, "fulfillment", to=encode_fulfillment(mixed)))


@CREATE.case("in another's name", InvalidSignature, "signature.owners")
def _create_for_other(scene: Scene) -> Built:
    draft = scene.build.draft_create(scene.alice)
    return draft.changed(put("inputs", 0, "owners_before", to=[public_key(scene.bob)])).signed()


@CREATE.case("an owner who did not sign", InvalidSignature, "signature.owners")
def _create_owner_missing(scene: Scene) -> Built:
    keys = [public_key(scene.alice), public_key(scene.bob)]
    return scene.build.draft_create(scene.alice).changed(put("inputs", 0, "owners_before", to=keys)).signed()


@CREATE.case("a signer who is no owner", InvalidSignature, "signature.owners")
def _create_signer_hidden(scene: Scene) -> Built:
    draft = scene.build.draft_create(all_of(scene.alice, scene.bob))
    return draft.changed(put("inputs", 0, "owners_before", to=[public_key(scene.alice)])).signed()


# CREATE that consumes an output of a DECOMPOSE (4.1, row 3)


def _decomposed(scene: Scene) -> Built:
    return scene.keep(
        scene.build.decompose(scene.asset().spend(), [f"{scene.alice} left", f"{scene.alice} right"])
    )


def _left(scene: Scene) -> str:
    return f"{scene.alice} left"


@CONSUME.case("unknown transaction", InputDoesNotExist, "input.exists", VERSION_3)
def _consume_unknown(scene: Scene) -> Built:
    spend = Spend(_NOWHERE, 0, scene.alice, _NOWHERE)
    return scene.build.create(scene.alice, data=_left(scene), consumes=spend)


@CONSUME.case("output beyond the last", InputDoesNotExist, "input.exists", VERSION_3)
def _consume_beyond(scene: Scene) -> Built:
    return scene.build.create(scene.alice, data=_left(scene), consumes=_decomposed(scene).spend().at(2))


@CONSUME.case("consumed before", DoubleSpend, "input.unspent", VERSION_3)
def _consume_again(scene: Scene) -> Built:
    spend = _decomposed(scene).spend(0)
    scene.keep(scene.build.create(scene.alice, data=_left(scene), consumes=spend))
    return scene.build.create(scene.alice, data=_left(scene), consumes=spend, metadata="again")


@CONSUME.case("data of another item", ValidationError, "create.item", VERSION_3)
def _consume_other_item(scene: Scene) -> Built:
    return scene.build.create(scene.alice, data=_left(scene), consumes=_decomposed(scene).spend(1))


@CONSUME.case("no data", ValidationError, "create.item", VERSION_3)
def _consume_no_data(scene: Scene) -> Built:
    return scene.build.create(scene.alice, data=None, consumes=_decomposed(scene).spend(0))


@CONSUME.case("no assets", ValidationError, "create.item", VERSION_3)
def _consume_no_assets(scene: Scene) -> Built:
    draft = scene.build.draft_create(scene.alice, data=_left(scene), consumes=_decomposed(scene).spend(0))
    return draft.changed(put("assets", to=None)).signed()


@CONSUME.case("output of a CREATE", ValidationError, "create.item", VERSION_3)
def _consume_create(scene: Scene) -> Built:
    gold = scene.asset(amount=1)
    return scene.build.create(scene.alice, data=gold.wire["assets"][0]["data"], consumes=gold.spend())


@CONSUME.case("output without an item", ValidationError, "create.item", VERSION_3)
def _consume_no_item(scene: Scene) -> Built:
    shares = [(1, scene.alice)] * 3
    split = scene.keep(scene.build.decompose(scene.asset().spend(), [_left(scene)], shares))
    return scene.build.create(scene.alice, data=_left(scene), consumes=split.spend(2))


@CONSUME.case("output whose item is the consumed asset", ValidationError, "create.item", VERSION_3)
def _consume_id_item(scene: Scene) -> Built:
    shares = [(1, scene.alice)] * 2
    gold = scene.asset()
    split = scene.keep(scene.build.decompose(gold.spend(), [_left(scene)], shares))
    return scene.build.create(scene.alice, data=gold.id, consumes=split.spend(1))


@CONSUME.case("signed by another", InvalidSignature, "signature.condition", VERSION_3)
def _consume_foreign(scene: Scene) -> Built:
    spend = _decomposed(scene).spend(0)
    stolen = Spend(spend.transaction_id, 0, scene.bob, spend.asset_id)
    return scene.build.create(scene.bob, data=_left(scene), consumes=stolen)


@CONSUME.case("in another's name", InvalidSignature, "signature.owners", VERSION_3)
def _consume_for_other(scene: Scene) -> Built:
    draft = scene.build.draft_create(scene.alice, data=_left(scene), consumes=_decomposed(scene).spend(0))
    return draft.changed(put("inputs", 0, "owners_before", to=[public_key(scene.bob)])).signed()


@CONSUME.case("signature over another message", InvalidSignature, "signature", VERSION_3)
def _consume_other_message(scene: Scene) -> Built:
    draft = scene.build.draft_create(scene.alice, data=_left(scene), consumes=_decomposed(scene).spend(0))
    return _forged(scene, draft, bytes(32))


@CONSUME.case("more than was there", AmountError, "create.amounts", VERSION_3)
def _consume_more(scene: Scene) -> Built:
    spend = _decomposed(scene).spend(0)
    return scene.build.create(scene.alice, [(2, scene.alice)], data=_left(scene), consumes=spend)


@CONSUME.case("less than was there", AmountError, "create.amounts", VERSION_3)
def _consume_less(scene: Scene) -> Built:
    return scene.build.create(scene.alice, [], data=_left(scene), consumes=_decomposed(scene).spend(0))


# What spending has in common, for each operation that spends


def _spending(group: Group, scene: Scene, spends: Sequence[Spend]) -> Draft:
    """A draft of the group's operation that is right in everything but what `spends` say."""
    if group is COMPOSE:
        return scene.build.draft_compose(spends, scene.to_bob(), data=scene.who("new"))
    if group is DECOMPOSE:
        return scene.build.draft_decompose(spends[0], [scene.who("part")])
    if group is VOTE:
        return scene.build.draft_vote(spends, scene.to_bob())
    return scene.build.draft_transfer(spends, scene.to_bob())


def _spend_unknown(group: Group, scene: Scene) -> Built:
    return _spending(group, scene, [Spend(_NOWHERE, 0, scene.alice, _NOWHERE)]).signed()


def _spend_beyond(group: Group, scene: Scene, index: int) -> Built:
    return _spending(group, scene, [scene.asset().spend().at(index)]).signed()


def _spend_again(group: Group, scene: Scene) -> Built:
    spend = scene.asset().spend()
    scene.keep(scene.build.transfer([spend], [(10, scene.carol)]))
    return _spending(group, scene, [spend]).signed()


def _spend_the_same(group: Group, scene: Scene) -> Built:
    """Exactly the same transaction for the second time."""
    return scene.keep(_spending(group, scene, [scene.asset().spend()]).signed())


def _spend_foreign(group: Group, scene: Scene) -> Built:
    spend = scene.asset().spend()
    stolen = Spend(spend.transaction_id, 0, scene.bob, spend.asset_id)
    draft = _spending(group, scene, [stolen])
    if group is not DECOMPOSE:
        return draft.signed()
    alices = put("outputs", 0, to=_spending(group, scene, [spend]).wire["outputs"][0])
    return draft.changed(alices).signed()


def _spend_other_message(group: Group, scene: Scene) -> Built:
    return _forged(scene, _spending(group, scene, [scene.asset().spend()]), bytes(32))


def _spend_signed_without_reference(group: Group, scene: Scene) -> Built:
    """Signed as if nothing were spent: the reference belongs to the message."""
    draft = _spending(group, scene, [scene.asset().spend()])
    unbound = draft.changed(put("inputs", 0, "fulfills", to=None))
    return _forged(scene, draft, message(unbound.wire, 0))


def _spend_decomposed(group: Group, scene: Scene) -> Built:
    return _spending(group, scene, [_decomposed(scene).spend(0)]).signed()


def _spend_twice_inside(group: Group, scene: Scene) -> Built:
    spend = scene.asset(amount=5).spend()
    return _spending(group, scene, [spend, spend]).signed()


def _register_spending(group: Group) -> None:
    dialects = ALL if group in (TRANSFER, VOTE) else VERSION_3

    @group.case("unknown transaction", InputDoesNotExist, "input.exists", dialects)
    def _unknown(scene: Scene) -> Built:
        return _spend_unknown(group, scene)

    for what, index in _BEYOND.items():

        @group.case(f"output {what} of one", InputDoesNotExist, "input.exists", dialects)
        def _beyond(scene: Scene, index: int = index) -> Built:
            return _spend_beyond(group, scene, index)

    @group.case("spent before", DoubleSpend, "input.unspent", dialects)
    def _again(scene: Scene) -> Built:
        return _spend_again(group, scene)

    @group.case("the same again", DoubleSpend, "input.unspent", dialects)
    def _the_same(scene: Scene) -> Built:
        return _spend_the_same(group, scene)

    @group.case("signed by another", InvalidSignature, "signature.condition", dialects)
    def _foreign(scene: Scene) -> Built:
        return _spend_foreign(group, scene)

    @group.case("signature over another message", InvalidSignature, "signature", dialects)
    def _other_message(scene: Scene) -> Built:
        return _spend_other_message(group, scene)

    @group.case("signature that does not cover the reference", InvalidSignature, "signature", dialects)
    def _unbound(scene: Scene) -> Built:
        return _spend_signed_without_reference(group, scene)

    @group.case("output of a DECOMPOSE", AssetIdMismatch, "asset.decomposed", VERSION_3)
    def _of_decompose(scene: Scene) -> Built:
        return _spend_decomposed(group, scene)

    if group is not DECOMPOSE:

        @group.case("the same output twice", DoubleSpend, "input.twice", dialects)
        def _twice(scene: Scene) -> Built:
            return _spend_twice_inside(group, scene)


for _group in (TRANSFER, COMPOSE, DECOMPOSE, VOTE):
    _register_spending(_group)


# TRANSFER (4.2)


@TRANSFER.case("two of three are needed and one signs", InvalidSignature, "signature.condition")
def _transfer_too_few(scene: Scene) -> Built:
    gold = scene.asset(owner=m_of_n(2, scene.alice, scene.bob, scene.carol))
    spend = gold.spend()
    weak = Spend(spend.transaction_id, 0, m_of_n(1, scene.alice, scene.bob, scene.carol), spend.asset_id)
    return scene.build.transfer([weak.by(scene.alice)], scene.to_bob())


@TRANSFER.case("one signature of two over another message", InvalidSignature, "signature")
def _transfer_one_bad(scene: Scene) -> Built:
    first = scene.keep(scene.build.create(scene.alice, [(4, scene.alice), (6, scene.alice)], data=scene.alice))
    draft = scene.build.draft_transfer([first.spend(0), first.spend(1)], scene.to_bob())
    built = draft.signed()
    return built.changed(put("inputs", 1, "fulfillment", to=built.wire["inputs"][0]["fulfillment"]))


@TRANSFER.case("second input unknown", InputDoesNotExist, "input.exists")
def _transfer_second_unknown(scene: Scene) -> Built:
    gold = scene.asset()
    missing = Spend(_NOWHERE, 0, scene.alice, gold.id)
    return scene.build.transfer([gold.spend(), missing], scene.to_bob())


@TRANSFER.case("inputs of two assets", AssetIdMismatch, "transfer.one_asset")
def _transfer_two_assets(scene: Scene) -> Built:
    gold, tin = scene.asset("gold", 4), scene.asset("tin", 6)
    return scene.build.transfer([gold.spend(), tin.spend()], scene.to_bob())


@TRANSFER.case("another asset than named", AssetIdMismatch, "transfer.asset")
def _transfer_other_asset(scene: Scene) -> Built:
    gold, tin = scene.asset("gold"), scene.asset("tin")
    spend = gold.spend()
    named = Spend(spend.transaction_id, 0, scene.alice, tin.id)
    return scene.build.transfer([named], scene.to_bob())


@TRANSFER.case("the transaction before instead of the asset", AssetIdMismatch, "transfer.asset")
def _transfer_names_predecessor(scene: Scene) -> Built:
    moved = scene.keep(scene.build.transfer([scene.asset().spend()], scene.to_bob()))
    spend = Spend(moved.id, 0, scene.bob, moved.id)
    return scene.build.transfer([spend], [(10, scene.alice)])


@TRANSFER.case("more than was there", AmountError, "transfer.amounts")
def _transfer_more(scene: Scene) -> Built:
    return scene.build.transfer([scene.asset().spend()], scene.to_bob(11))


@TRANSFER.case("less than was there", AmountError, "transfer.amounts")
def _transfer_less(scene: Scene) -> Built:
    return scene.build.transfer([scene.asset().spend()], scene.to_bob(9))


@TRANSFER.case("no outputs", AmountError, "transfer.amounts")
def _transfer_nothing(scene: Scene) -> Built:
    return scene.build.transfer([scene.asset().spend()], [])


@TRANSFER.case("amounts beyond 64 bits that wrap to the right sum", AmountError, "transfer.amounts")
def _transfer_wrapping(scene: Scene) -> Built:
    largest = 9_000_000_000_000_000_000
    shares = [(largest, scene.bob), (largest, scene.bob), (2**64 + 10 - 2 * largest, scene.bob)]
    return scene.build.transfer([scene.asset().spend()], shares)


# COMPOSE (4.3)


def _compose(scene: Scene) -> Draft:
    return scene.build.draft_compose(
        [scene.asset("gold").spend(), scene.asset("tin").spend()], [(1, scene.alice)], data=scene.who("new")
    )


@COMPOSE.case("no new asset", ValidationError, "compose.new_asset", VERSION_3)
def _compose_no_data(scene: Scene) -> Built:
    return _compose(scene).changed(lambda wire: wire["assets"].pop(0)).signed()


@COMPOSE.case("two new assets", ValidationError, "compose.new_asset", VERSION_3)
def _compose_two_data(scene: Scene) -> Built:
    return _compose(scene).changed(lambda wire: wire["assets"].append({"data": "x"})).signed()


@COMPOSE.case("no output", ValidationError, "compose.output", VERSION_3)
def _compose_no_output(scene: Scene) -> Built:
    return _compose(scene).changed(put("outputs", to=[])).signed()


@COMPOSE.case("two outputs", ValidationError, "compose.output", VERSION_3)
def _compose_two_outputs(scene: Scene) -> Built:
    return _compose(scene).changed(lambda wire: wire["outputs"].append(wire["outputs"][0])).signed()


@COMPOSE.case("a consumed asset is not named", AssetIdMismatch, "compose.assets", VERSION_3)
def _compose_not_named(scene: Scene) -> Built:
    return _compose(scene).changed(lambda wire: wire["assets"].pop()).signed()


@COMPOSE.case("a named asset is not consumed", AssetIdMismatch, "compose.assets", VERSION_3)
def _compose_not_consumed(scene: Scene) -> Built:
    lead = scene.asset("lead")
    return _compose(scene).changed(lambda wire: wire["assets"].append({"id": lead.id})).signed()


@COMPOSE.case("second input signed by another", InvalidSignature, "signature.condition", VERSION_3)
def _compose_stolen(scene: Scene) -> Built:
    gold, tin = scene.asset("gold"), scene.asset("tin").spend()
    stolen = Spend(tin.transaction_id, 0, scene.bob, tin.asset_id)
    return scene.build.compose([gold.spend(), stolen], scene.to_bob(1), data=scene.who("new"))


# DECOMPOSE (4.3)


def _decompose(scene: Scene) -> Draft:
    return scene.build.draft_decompose(scene.asset().spend(), [scene.who("left"), scene.who("right")])


def _decompose_gold_and_tin(scene: Scene) -> Built:
    gold, tin = scene.asset("gold"), scene.asset("tin")
    both = scene.build.draft_compose([gold.spend(), tin.spend()], [(1, scene.alice)], data=scene.who("left"))
    return both.changed(put("operation", to="DECOMPOSE")).signed()


DECOMPOSE.schema("two inputs", "schema.length", _decompose_gold_and_tin, VERSION_3)
DECOMPOSE.schema(
    "no input", "schema.length", lambda scene: _decompose(scene).signed().changed(put("inputs", to=[])), VERSION_3
)


@DECOMPOSE.case("another asset than the input's", AssetIdMismatch, "decompose.asset", VERSION_3)
def _decompose_other_asset(scene: Scene) -> Built:
    tin = scene.asset("tin")
    return _decompose(scene).changed(put("assets", 2, to={"id": tin.id})).signed()


@DECOMPOSE.case("no asset named", ValidationError, "decompose.one_asset", VERSION_3)
def _decompose_no_asset(scene: Scene) -> Built:
    return _decompose(scene).changed(lambda wire: wire["assets"].pop()).signed()


@DECOMPOSE.case("two assets named", ValidationError, "decompose.one_asset", VERSION_3)
def _decompose_two_assets(scene: Scene) -> Built:
    tin = scene.asset("tin")
    return _decompose(scene).changed(lambda wire: wire["assets"].append({"id": tin.id})).signed()


@DECOMPOSE.case("no new asset", ValidationError, "decompose.new_asset", VERSION_3)
def _decompose_nothing_new(scene: Scene) -> Built:
    return _decompose(scene).changed(lambda wire: wire.update(assets=wire["assets"][2:])).signed()


def _register_recipients() -> None:
    recipients = {
        "an output for another": lambda scene: scene.bob,
        "an output for two": lambda scene: all_of(scene.alice, scene.bob),
    }
    for what, owner in recipients.items():

        @DECOMPOSE.case(what, ValidationError, "decompose.recipient", VERSION_3)
        def _to_other(scene: Scene, owner=owner) -> Built:  # type: ignore[no-untyped-def]
            shares = [(1, scene.alice), (1, owner(scene))]
            items = [scene.who("left"), scene.who("right")]
            return scene.build.decompose(scene.asset().spend(), items, shares)


_register_recipients()


@DECOMPOSE.case("an output for nobody", ValidationError, "decompose.recipient", VERSION_3)
def _decompose_for_nobody(scene: Scene) -> Built:
    return _decompose(scene).changed(put("outputs", 1, "public_keys", to=[])).signed()


@DECOMPOSE.case("an input of two owners", ValidationError, "decompose.owner", VERSION_3)
def _decompose_of_two(scene: Scene) -> Built:
    gold = scene.asset(owner=all_of(scene.alice, scene.bob))
    return scene.build.decompose(gold.spend(), [scene.who("left")])


# Structure that only COMPOSE and DECOMPOSE have (transactions 3)


def _register_structure(group: Group) -> None:
    def schema(what: str, rule: str, change: Change) -> None:
        group.schema(what, rule, lambda scene: _spending_one(scene).changed(change).signed(), VERSION_3)

    def _spending_one(scene: Scene) -> Draft:
        return _spending(group, scene, [scene.asset().spend()])

    schema("fulfills null", "schema.type", put("inputs", 0, "fulfills", to=None))
    schema("assets null", "schema.type", put("assets", to=None))
    schema("assets an object", "schema.type", put("assets", to={"data": "x"}))
    schema("no assets", "schema.length", put("assets", to=[]))
    schema("item null", "schema.type", put("assets", 0, to=None))
    schema("item with neither data nor id", "schema.required", put("assets", 0, to={}))
    schema("item with data and id", "schema.additional", put("assets", 0, to={"data": "x", "id": _NOWHERE}))
    schema("item with data null", "schema.type", put("assets", 0, to={"data": None}))
    schema("item with an object as data", "schema.type", put("assets", 0, to={"data": {}}))
    schema("item with an id that is none", "schema.pattern", put("assets", 1, to={"id": "x"}))


for _group in (COMPOSE, DECOMPOSE):
    _register_structure(_group)
COMPOSE.schema(
    "no input", "schema.length", lambda scene: _compose(scene).signed().changed(put("inputs", to=[])), VERSION_3
)
