# SPDX-License-Identifier: AGPL-3.0-or-later
"""Structure comes before the depth of conditions (validation 2, steps 3 and 5)."""

from hashlib import sha3_256

import pytest

from planetmint.model import json
from planetmint.model.errors import SchemaValidationError, ThresholdTooDeep
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ChainParameters
from planetmint.rules import decode_transaction

READABLE = (
    "pGSAIKbBwPVgH2EWnNf73rGmEbRXzMYiTIXI6YgJ0vu4APG3gUCnbveKKOj6MQ613IyZaTZBS5Ca50KyCQnse8R0VnJkZS-2qqGswDGNmpQ1-mT"
    "KeBjUKqPHSvuaTOg3DpqdKsAC"
)
"""The fulfillment of the worked example in transactions 4.4."""


def create_with_deep_condition(data: JsonValue) -> bytes:
    details: JsonValue = {"type": "ed25519-sha-256", "public_key": "CDx31U9UUfFVEV1kKqhpaJcHFro5n7VRTAYCvi9quMgr"}
    for _ in range(17):
        details = {"type": "threshold-sha-256", "threshold": 1, "subconditions": [details]}
    body: JsonObject = {
        "id": None,
        "version": "3.0",
        "operation": "CREATE",
        "assets": [{"data": data}],
        "metadata": None,
        "inputs": [{"owners_before": [], "fulfills": None, "fulfillment": READABLE}],
        "outputs": [{"amount": "1", "condition": {"details": details, "uri": ""}, "public_keys": []}],
    }
    return json.canonical({**body, "id": sha3_256(json.canonical(body)).hexdigest()})


def test_fault_in_the_structure_is_reported_before_conditions_that_are_too_deep() -> None:
    with pytest.raises(ThresholdTooDeep):
        decode_transaction(create_with_deep_condition("text"), ChainParameters())
    with pytest.raises(SchemaValidationError):
        decode_transaction(create_with_deep_condition({"no": "text"}), ChainParameters())
