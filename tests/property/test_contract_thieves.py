# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random thieves on a chain whose contracts are content with everything: nothing moves without its owner.

Mallory makes an output that shows alice as its owner, commits it to a tree of her own choice, and later fulfils
that tree with whatever she has: her own signatures, signatures of alice over other messages, contracts, and
conditions whose type, cost and subtypes may be lies. Source: transactions 5.3 and 5.4, mode ``bound``.
"""

from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from planetmint.conditions import (
    contract_condition,
    contract_fulfillment,
    derive_condition,
    encode_fulfillment,
    fulfill,
    fulfillment_uri,
    write_details,
)
from planetmint.model.condition import (
    Condition,
    Details,
    Ed25519Details,
    Fulfillment,
    ThresholdDetails,
    ThresholdFulfillment,
    ZenroomDetails,
)
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.testing.build import (
    Builder,
    Built,
    Dialect,
    Draft,
    Wire,
    details,
    identified,
    message,
    public_key,
    seed,
)
from planetmint.testing.ledger import Ledger
from tests.support.contract_verdicts import content

BUILD = Builder(Dialect.BIGCHAINDB)
CHAIN = ChainParameters(contracts=ContractParameters(zenroom="bound", scripts="on", engine="tests 1"))
SCRIPT = "Given nothing"
LIFTED = bytes(31) + b"\1"
"""A message that alice did sign some time."""

Part = tuple[Details, Callable[[bytes], Fulfillment | Condition]]
"""What the output shows for a node of the tree, and what mallory gives there, by the message to be signed."""


def sign(name: str, over: bytes) -> Fulfillment:
    return fulfill(details(name), over, [seed(name)])


def condition_of(name: str) -> Condition:
    found = derive_condition(details(name))
    assert found is not None
    return found


ALICE, CONTRACT = Ed25519Details(public_key("alice")), ZenroomDetails(public_key("contract"))
GIVEN: list[Part] = [
    (ALICE, lambda over: sign("mallory", over)),
    (ALICE, lambda over: sign("alice", LIFTED)),
    (CONTRACT, lambda over: contract_fulfillment(SCRIPT)),
]
SHOWN: list[Part] = [
    (ALICE, lambda over: condition_of("alice")),
    (ALICE, lambda over: condition_of("mallory")),
    (CONTRACT, lambda over: contract_condition(SCRIPT)),
    (ThresholdDetails(1, (ALICE, CONTRACT)), lambda over: Condition(2, bytes(32), 133_120, frozenset({4, 5}))),
]


@st.composite
def lies(draw: st.DrawFn) -> Part:
    """A condition of nothing, of any type, cost and subtypes."""
    type_id = draw(st.sampled_from((2, 4, 5)))
    subtypes = draw(st.sets(st.sampled_from((4, 5)))) if type_id == 2 else set()
    cost = draw(st.sampled_from((131_072, 133_120, 262_144, 264_192)))
    seen = draw(st.sampled_from((ALICE, CONTRACT)))
    return seen, lambda over: Condition(type_id, bytes(32), cost, frozenset(subtypes))


def threshold(given_parts: list[Part], shown: list[Part]) -> Part:
    def make(over: bytes) -> Fulfillment:
        done = [make_part(over) for _, make_part in given_parts]
        conditions = [make_part(over) for _, make_part in shown]
        return ThresholdFulfillment(
            tuple(item for item in done if not isinstance(item, Condition)),
            tuple(item for item in conditions if isinstance(item, Condition)),
        )

    seen = tuple(part for part, _ in (*given_parts, *shown))
    return ThresholdDetails(len(given_parts), seen), make


def thresholds(children: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    hidden = st.one_of(st.sampled_from(SHOWN), lies())
    return st.builds(
        threshold, st.lists(children, min_size=1, max_size=3), st.lists(hidden, min_size=0, max_size=2)
    )


trees = thresholds(st.recursive(st.sampled_from(GIVEN), thresholds, max_leaves=5))


def sealed(draft: Draft, make: Callable[[bytes], Fulfillment | Condition]) -> Built:
    fulfillment = make(message(draft.wire, 0))
    assert not isinstance(fulfillment, Condition)
    text = encode_fulfillment(fulfillment)
    wire = draft.changed(lambda wire: wire["inputs"][0].update(fulfillment=text)).wire
    return Built(identified(wire))


def try_to_steal(tree: Part) -> bool:
    """Whether the output was taken; that it was not stolen is asserted here."""
    seen, make = tree
    committed = make(bytes(32))
    assert not isinstance(committed, Condition)

    def commit(wire: Wire) -> None:
        condition = {"details": write_details(seen), "uri": fulfillment_uri(committed)}
        wire["outputs"][0].update(condition=condition, public_keys=[public_key("alice")])

    ledger = Ledger(CHAIN, engine=content)
    bait = BUILD.draft_create("mallory", [(1, "alice")], data="bait").changed(commit).signed()
    taken = ledger.verdict(bait.canonical) is None
    draft = BUILD.draft_transfer([bait.spend()], [(1, "mallory")]).scripted({}, ["ok"])
    assert ledger.verdict(sealed(draft, make).canonical) is not None
    return taken


def test_section_5_4_nothing_is_spent_without_its_owner() -> None:
    taken: Counter[bool] = Counter()

    @settings(max_examples=400, deadline=None)
    @given(trees)
    def steal(tree: Part) -> None:
        taken[try_to_steal(tree)] += 1

    steal()
    assert taken[True] > 20, "thieves whose outputs are refused try nothing"


@settings(max_examples=200, deadline=None)
@given(trees)
def test_section_5_3_nothing_is_created_in_another_s_name(tree: Part) -> None:
    draft = BUILD.draft_create("alice", data="forged").scripted({}, ["ok"])
    assert Ledger(CHAIN, engine=content).verdict(sealed(draft, tree[1]).canonical) is not None
