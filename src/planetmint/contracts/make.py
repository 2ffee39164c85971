# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run of a contract from what a transaction says: texts and seed for the engine, held against the bounds."""

from planetmint.contracts.bounds import check_bounds
from planetmint.contracts.call import ContractCall, Purpose
from planetmint.contracts.refusal import refusal
from planetmint.contracts.text import engine_json, seed
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ContractParameters


def make_call(
    purpose: Purpose,
    field: str,
    script: str,
    data: JsonObject,
    keys: JsonObject | None,
    expected: JsonValue,
    parameters: ContractParameters,
    *,
    added: JsonObject | None = None,
) -> ContractCall:
    """The run of one contract.

    Args:
        purpose: Why it runs; a script is given no keys, a condition always some, if only ``null``.
        field: Where it stands in the transaction.
        script: Zencode.
        data: What the sender wrote.
        keys: What the sender wrote.
        expected: See `ContractCall`.
        parameters: The chain's bounds.
        added: Members that the node puts into the data, over the sender's; the seed does not depend on them, so
            that a contract can be tried out before there is a transaction.

    Raises:
        InvalidScript, InvalidSignature: By purpose: beyond a bound, see `check_bounds`.
    """
    try:
        own, keys_text = engine_json(data), engine_json(keys) if purpose is Purpose.CONDITION else None
    except ValueError:
        raise refusal(purpose, field, "contract.data", "a number beyond a double is refused") from None
    whole = {**data, **added} if added else data
    text = engine_json(whole) if added else own
    call = ContractCall(field, purpose, script, text, keys_text, seed(script, own, keys_text), expected)
    check_bounds(call, (whole, keys), parameters)
    return call
