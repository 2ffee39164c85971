# SPDX-License-Identifier: AGPL-3.0-or-later
"""A short seeded run of every fuzzer; `python -m fuzz.<name>` runs them for longer."""

import pytest

from fuzz import abci_frames, abci_transactions, contracts, fulfillment, json_text, transaction
from fuzz.engine import Broken, Fuzzer

FUZZERS = [
    json_text.FUZZER,
    fulfillment.FUZZER,
    contracts.FUZZER,
    transaction.FUZZER,
    abci_frames.FUZZER,
    abci_transactions.FUZZER,
]


@pytest.mark.parametrize("fuzzer", FUZZERS, ids=lambda fuzzer: fuzzer.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_invariant_holds_for_changed_inputs(fuzzer: Fuzzer, seed: int) -> None:
    tally = fuzzer.run(seed, count=2_000)
    assert tally.tried == 2_000
    assert tally.accepted > 100, "too few inputs reach what lies behind the parser"
    assert tally.refused > 100


def test_a_broken_invariant_is_reported_with_its_input() -> None:
    def target(data: bytes) -> bool:
        assert b"x" not in data
        return True

    with pytest.raises(Broken) as caught:
        Fuzzer("broken", target, lambda rng: rng.choice((b"a", b"xx"))).run(1, count=100)
    assert caught.value.data == b"xx"
