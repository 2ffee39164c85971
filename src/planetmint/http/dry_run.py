# SPDX-License-Identifier: AGPL-3.0-or-later
"""The answer to a dry run: the verdict as a submission would get it, and what the transaction takes.

Texts of the engine and of contracts are clipped, so that no answer grows with what a contract prints or declares.
"""

import asyncio

from planetmint.app.application import Cost, DryRun
from planetmint.app.contracts import Trial
from planetmint.contracts.zencode import statements
from planetmint.http.answers import Answer, json_answer
from planetmint.http.errors import error_body, row_of
from planetmint.model import json
from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import JsonObject, JsonValue

LONGEST_SHOWN = 4_000
"""Characters of an engine's output, of its messages, and of what was expected, that are shown of one run."""

LONGEST_ANSWER = 1_000_000
"""Bytes of an answer beyond which less is shown of each run: a character may take up to twelve."""

_SHOWN_IN_ALL = 64_000
_SHARE_DIGITS = 6


async def dry_run_answer(tried: DryRun) -> Answer:
    """200 for a valid transaction, else the status and the members that a submission would be answered with.

    What is said about runs of contracts is written beside the event loop: declared outputs may be as large as the
    transaction.
    """
    return await asyncio.to_thread(_bounded, tried) if tried.runs else _written(tried, [])


def _bounded(tried: DryRun) -> Answer:
    """Shows as much of each run as leaves the answer within `LONGEST_ANSWER`."""
    # All leaves of a transaction share what it declares, which may be large: it is written once.
    declared = {id(run.call.expected): run.call.expected for run in tried.runs}
    texts = {key: json.canonical(value) for key, value in declared.items()}
    longest = min(LONGEST_SHOWN, _SHOWN_IN_ALL // len(tried.runs))
    while True:
        runs: list[JsonValue] = [_run(run, texts[id(run.call.expected)], longest) for run in tried.runs]
        answer = _written(tried, runs)
        if len(answer.body) <= LONGEST_ANSWER or longest == 0:
            return answer
        longest //= 2


def _written(tried: DryRun, runs: list[JsonValue]) -> Answer:
    refusal = tried.refusal
    details: JsonObject = {
        "valid": True if refusal is None else False if isinstance(refusal, InvalidTransaction) else None,
        "would_be_taken": refusal is None and tried.hindrance is None,
        "detail": tried.hindrance,
        "id": tried.transaction_id,
        "cost": None if tried.cost is None else _cost(tried.cost),
        "contracts": runs,
    }
    if refusal is None:
        return json_answer(details)
    status = row_of(refusal).status
    return json_answer({**error_body(refusal), **details, "status": status}, status)


def _cost(cost: Cost) -> JsonObject:
    return {
        "bytes": cost.bytes,
        "bytes_allowed": cost.bytes_allowed,
        "bytes_share": round(cost.bytes / cost.bytes_allowed, _SHARE_DIGITS),
        "inputs": cost.inputs,
        "outputs": cost.outputs,
        "signatures": cost.signatures,
        "fulfillment_costs": [*cost.fulfillment_costs],
        "output_costs": [*cost.output_costs],
        "contracts": cost.contracts,
        "contracts_allowed": cost.contracts_allowed,
    }


def _run(run: Trial, expected: bytes, longest: int) -> JsonObject:
    call, execution, error = run.call, run.execution, run.error
    answer = None if execution is None else execution.answer
    return {
        "field": call.field,
        "bytes": len(call.script.encode()),
        "statements": sum(1 for _ in statements(call.script)),
        "data_bytes": len(call.data) + len(call.keys or ""),
        "milliseconds": None if execution is None else round(1000 * execution.cpu, 3),
        "memory_bytes": None if execution is None else execution.memory,
        "output": None if answer is None else _shown(answer.output, longest),
        "expected": _shown(expected, longest),
        "messages": None if answer is None else _shown(answer.logs, longest),
        "error": None if error is None else error_body(error),
    }


def _shown(text: bytes, longest: int) -> str:
    """The beginning of a text in UTF-8; other bytes in it are replaced."""
    # No character has more than four bytes: what is cut off here would be cut off below, too.
    shown = text[: 4 * (longest + 1)].decode("utf-8", "replace").rstrip()
    return shown if len(shown) <= longest else shown[:longest] + "…"
