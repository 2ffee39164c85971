# SPDX-License-Identifier: AGPL-3.0-or-later
"""The order of calls on one connection: the published grammar of ABCI 2.0, as far as one connection can tell."""

import pytest

from planetmint.consensus.cometbft.order import CallOrder, Kind, OutOfOrder, State

ANYWHERE = [
    Kind.ECHO,
    Kind.FLUSH,
    Kind.INFO,
    Kind.QUERY,
    Kind.CHECK_TX,
    Kind.LIST_SNAPSHOTS,
    Kind.LOAD_SNAPSHOT_CHUNK,
    Kind.EXTEND_VOTE,
    Kind.VERIFY_VOTE_EXTENSION,
]
HEIGHT = [Kind.PREPARE_PROPOSAL, Kind.PROCESS_PROPOSAL, Kind.FINALIZE_BLOCK, Kind.COMMIT]


def follow(kinds: list[Kind]) -> CallOrder:
    order = CallOrder()
    for kind in kinds:
        order.check(kind)
        order.done(kind)
    return order


@pytest.mark.parametrize(
    "kinds",
    [
        [Kind.INIT_CHAIN, *HEIGHT, *HEIGHT],
        [Kind.FINALIZE_BLOCK, Kind.COMMIT, Kind.FINALIZE_BLOCK, Kind.COMMIT],
        [Kind.PROCESS_PROPOSAL, Kind.PROCESS_PROPOSAL, Kind.EXTEND_VOTE, Kind.FINALIZE_BLOCK, Kind.COMMIT],
        [Kind.INIT_CHAIN, Kind.INIT_CHAIN, *HEIGHT],
        [Kind.OFFER_SNAPSHOT, Kind.OFFER_SNAPSHOT, Kind.APPLY_SNAPSHOT_CHUNK, Kind.APPLY_SNAPSHOT_CHUNK, *HEIGHT],
        [Kind.OFFER_SNAPSHOT, Kind.INIT_CHAIN, *HEIGHT],
        [Kind.FINALIZE_BLOCK, Kind.FINALIZE_BLOCK, Kind.COMMIT],
    ],
)
def test_what_the_grammar_allows_is_taken(kinds: list[Kind]) -> None:
    follow(kinds)


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        ([], Kind.COMMIT),
        ([*HEIGHT], Kind.COMMIT),
        ([Kind.PROCESS_PROPOSAL], Kind.COMMIT),
        ([Kind.FINALIZE_BLOCK], Kind.PREPARE_PROPOSAL),
        ([Kind.FINALIZE_BLOCK], Kind.PROCESS_PROPOSAL),
        ([Kind.FINALIZE_BLOCK], Kind.INIT_CHAIN),
        ([Kind.FINALIZE_BLOCK], Kind.OFFER_SNAPSHOT),
        ([], Kind.APPLY_SNAPSHOT_CHUNK),
        ([Kind.OFFER_SNAPSHOT, *HEIGHT], Kind.APPLY_SNAPSHOT_CHUNK),
        ([Kind.OFFER_SNAPSHOT], Kind.COMMIT),
    ],
)
def test_what_the_grammar_does_not_allow_is_refused(before: list[Kind], kind: Kind) -> None:
    order = follow(before)
    with pytest.raises(OutOfOrder, match=kind.value):
        order.check(kind)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", ANYWHERE)
def test_calls_outside_of_the_grammar_come_anywhere_and_change_nothing(state: State, kind: Kind) -> None:
    order = CallOrder()
    order.state = state
    order.check(kind)
    order.done(kind)
    assert order.state is state


def test_a_call_that_failed_changes_nothing() -> None:
    order = follow([Kind.INIT_CHAIN])
    order.check(Kind.FINALIZE_BLOCK)
    with pytest.raises(OutOfOrder):
        order.check(Kind.COMMIT)
