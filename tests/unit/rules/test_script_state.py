# SPDX-License-Identifier: AGPL-3.0-or-later
"""`script.state` holds 64 lower-case hex digits somewhere; it alone may be longer (transactions 2.3 and 2.5)."""

import pytest

from planetmint.model.errors import SchemaValidationError
from planetmint.model.json import JsonValue
from planetmint.rules import schema


def script(state: str) -> JsonValue:
    return {"code": {"transaction_id": "0" * 64}, "state": state, "input": {}, "output": {}}


@pytest.mark.parametrize("state", ["0123456789abcdef" * 4, "x" + "a" * 64 + "\n", "a" * 65])
def test_state_with_64_lower_case_hex_digits_in_it_is_accepted(state: str) -> None:
    schema.check_script(script(state), "2.0")


@pytest.mark.parametrize("state", ["", "a" * 63, "A" * 64, "a" * 32 + " " + "a" * 32])
def test_state_without_64_lower_case_hex_digits_is_refused(state: str) -> None:
    with pytest.raises(SchemaValidationError) as caught:
        schema.check_script(script(state), "2.0")
    assert caught.value.field == "script.state"
