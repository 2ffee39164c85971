# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changes of a validator set, and keys of candidates (validation 3.3 and 4.4)."""

import base64

import base58
import pytest

from planetmint.model.election import decode_candidate, election_address
from planetmint.model.errors import InvalidPowerChange, InvalidPublicKey
from planetmint.model.validator import MAX_TOTAL_POWER, Validator, ValidatorSet, change_validators

X, Y, Z = (bytes([number]) * 32 for number in (1, 2, 3))
SET = (Validator(X, 10), Validator(Y, 20))


def rule(validators: ValidatorSet, change: Validator) -> str:
    with pytest.raises(InvalidPowerChange) as caught:
        change_validators(validators, change)
    return caught.value.rule


def test_powers_are_replaced_in_place_added_at_the_end_and_removed() -> None:
    assert change_validators(SET, Validator(X, 9)) == (Validator(X, 9), Validator(Y, 20))
    assert change_validators(SET, Validator(Z, 9)) == (*SET, Validator(Z, 9))
    assert change_validators(SET, Validator(X, 0)) == (Validator(Y, 20),)


def test_the_new_power_itself_is_less_than_a_third_of_the_present_total() -> None:
    assert rule(SET, Validator(X, 10)) == "election.power"
    assert change_validators(SET, Validator(X, 9))
    # Removal passes even where it takes two thirds away; the difference is not what is measured.
    assert change_validators(SET, Validator(Y, 0)) == (Validator(X, 10),)


def test_what_would_stop_the_engine_is_refused() -> None:
    assert rule(SET, Validator(Z, 0)) == "election.unknown_validator"
    assert rule((Validator(X, 10),), Validator(X, 0)) == "election.last_validator"
    assert rule((), Validator(X, 0)) == "election.power"
    almost = (Validator(X, MAX_TOTAL_POWER - 5),)
    assert change_validators(almost, Validator(Y, 5))
    assert rule(almost, Validator(Y, 6)) == "election.total"


def test_the_bound_is_the_engines() -> None:
    assert int("0fffffffffffffff", 16) == MAX_TOTAL_POWER


@pytest.mark.parametrize(
    ("kind", "encode"), [("base16", base64.b16encode), ("base32", base64.b32encode), ("base64", base64.b64encode)]
)
def test_a_candidates_key_is_read_in_its_encoding_alone(kind: str, encode: object) -> None:
    text = encode(X).decode()  # type: ignore[operator]
    assert decode_candidate(f"ed25519-{kind}", text) == X
    for damaged in (text + "=", text[:-1], " " + text, text + "\n", "", "é" + text[1:], text.swapcase() + "!"):
        with pytest.raises(InvalidPublicKey) as caught:
            decode_candidate(f"ed25519-{kind}", damaged)
        assert caught.value.rule == "election.key_encoding"


@pytest.mark.parametrize("size", [1, 31, 33, 64])
def test_a_candidates_key_has_32_bytes(size: int) -> None:
    with pytest.raises(InvalidPublicKey) as caught:
        decode_candidate("ed25519-base16", "AB" * size)
    assert (caught.value.rule, caught.value.reason) == (
        "election.key_size",
        "Public key should be of size 32 bytes",
    )


def test_a_key_that_outputs_could_not_list_is_no_candidate() -> None:
    """Its base58 text has 42 characters, so that no later election could have an output for it."""
    raw = bytes([0, 1]) + bytes(30)
    assert len(base58.b58encode(raw)) == 42
    with pytest.raises(InvalidPublicKey) as caught:
        decode_candidate("ed25519-base64", base64.b64encode(raw).decode())
    assert caught.value.rule == "election.key_text"


def test_votes_go_to_the_base58_text_of_the_elections_id() -> None:
    election_id = "e3031c32" + "7f" * 28
    assert base58.b58decode(election_address(election_id)).hex() == election_id
