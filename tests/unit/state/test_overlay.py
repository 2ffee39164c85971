# SPDX-License-Identifier: AGPL-3.0-or-later
"""The overlay: pending changes are seen, the view below is left alone, nonsense is a bug."""

import pytest

from planetmint.model.errors import InvariantViolated
from planetmint.model.transaction import Operation, OutputRecord, OutputRef
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.state.overlay import Overlay

OLD = OutputRecord(OutputRef("a" * 64, 0), 5, "uri", ("key",), "a" * 64, Operation.CREATE)
NEW = OutputRecord(OutputRef("b" * 64, 0), 5, "uri", ("key",), "a" * 64, Operation.TRANSFER)


class Committed:
    """A ledger with one transaction and one unspent output."""

    def has_transaction(self, transaction_id: str) -> bool:
        return transaction_id == "a" * 64

    def output(self, ref: OutputRef) -> OutputRecord | None:
        return OLD if ref == OLD.ref else None

    def validators(self) -> ValidatorSet:
        return (Validator(b"\x01" * 32, 1),)


def test_what_is_below_shows_through() -> None:
    overlay = Overlay(Committed())
    assert overlay.has_transaction("a" * 64)
    assert not overlay.has_transaction("b" * 64)
    assert overlay.output(OLD.ref) == OLD
    assert overlay.validators() == Committed().validators()


def test_applied_changes_are_seen_and_stay_above() -> None:
    base = Committed()
    overlay = Overlay(base)
    overlay.apply("b" * 64, [OLD.ref], [NEW])
    assert overlay.has_transaction("b" * 64)
    assert overlay.output(OLD.ref) == OLD._replace(spender="b" * 64)
    assert overlay.output(NEW.ref) == NEW
    assert base.output(OLD.ref) == OLD
    assert Overlay(base).output(NEW.ref) is None


def test_an_output_made_and_spent_in_one_block_is_spent() -> None:
    overlay = Overlay(Committed())
    overlay.apply("b" * 64, [OLD.ref], [NEW])
    overlay.apply("c" * 64, [NEW.ref], [])
    record = overlay.output(NEW.ref)
    assert record is not None
    assert record.spender == "c" * 64


@pytest.mark.parametrize("ref", [OutputRef("f" * 64, 0), OLD.ref])
def test_spending_what_is_missing_or_spent_is_a_bug(ref: OutputRef) -> None:
    overlay = Overlay(Committed())
    overlay.apply("b" * 64, [OLD.ref], [])
    with pytest.raises(InvariantViolated):
        overlay.apply("c" * 64, [ref], [])
