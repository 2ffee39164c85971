# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `contract check`: what a chain says to a contract unread, or to the contracts of a transaction."""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from planetmint.app.contracts import ContractJudge, Trial
from planetmint.cli.console import CommandFailed, read_file, say, show, show_json
from planetmint.cli.contract_run import (
    call_of,
    effort,
    name_of,
    printable,
    read_object,
    read_script,
    require_machine_engine,
)
from planetmint.contracts.counts import find_unbounded
from planetmint.contracts.text import engine_json
from planetmint.contracts.zencode import statements
from planetmint.model import json
from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import CONTRACT_BOUNDS, ChainParameters, ScriptMode, ZenroomMode
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import ContractError
from planetmint.rules import check_signatures, decode_transaction
from planetmint.runtime.contracts import INSTALL, machine_engine, make_pool
from planetmint.runtime.settings import Settings

Modes = tuple[ZenroomMode | None, ScriptMode | None]

_LONGEST = 2_000


def check(
    settings: Settings, file: Path, data: Path | None, keys: Path | None, modes: Modes, *, as_json: bool
) -> int:
    """Check the contract or the transaction in `file` and print what was found; 0 where all is well, else 1.

    Args:
        settings: Bounds and engine.
        file: Zencode, or a transaction.
        data, keys: JSON objects that Zencode is run with.
        modes: `contracts.zenroom` and `contracts.scripts` of the chain; None as on one founded here.

    Raises:
        CommandFailed: A file that is not what it must be.
        ConfigurationError: A contract has to be run, and there is no engine.
    """
    text = read_file(file)
    if text.lstrip()[:1] in (b"{", b"["):
        if data is not None or keys is not None:
            raise CommandFailed("--data and --keys go with Zencode; a transaction brings its own")
        document = _check_transaction(settings, text, modes)
    else:
        document = _check_zencode(settings, file, text, data, keys)
    if as_json:
        show_json(document)
    else:
        show(_page(document))
    return 0 if document["valid"] else 1


# Zencode


def _check_zencode(
    settings: Settings, file: Path, text: bytes, data: Path | None, keys: Path | None
) -> JsonObject:
    parameters = settings.chain.parameters()
    script = read_script(file, text)
    given = read_object(data, parameters) or {}, read_object(keys, parameters)
    refusal = None
    try:
        call_of(script, *given, parameters)
    except InvalidTransaction as error:
        refusal = error
    bounds = parameters.contracts
    return {
        "contract": name_of(file).strip("`"),
        "bounds": [
            _bound("bytes", len(text), bounds.max_bytes, "max_bytes"),
            _bound("data and keys", _data_bytes(given), bounds.max_data_bytes, "max_data_bytes"),
            _bound("statements", sum(1 for _ in statements(script)), bounds.max_statements, "max_statements"),
            _bound("largest number", _largest_number(script, given), bounds.max_number, "max_number"),
        ],
        "error": None if refusal is None else {"reason": refusal.reason, "rule": refusal.rule},
        "valid": refusal is None,
    }


def _bound(name: str, value: int | None, allowed: int, parameter: str) -> JsonObject:
    return {"allowed": allowed, "name": name, "parameter": f"contracts.{parameter}", "value": value}


def _data_bytes(given: tuple[JsonObject, JsonObject | None]) -> int | None:
    data, keys = given
    try:
        return len(engine_json(data)) + (len(engine_json(keys)) if keys is not None else 0)
    except ValueError:
        return None


def _largest_number(script: str, given: tuple[JsonObject, JsonObject | None]) -> int | None:
    """The largest number that sets how much a contract does, 0 for none; None where that cannot be told."""
    lines = list(statements(script))
    highest = CONTRACT_BOUNDS["max_number"][1]
    if find_unbounded(lines, given, highest) is not None:
        return None
    # The least bound that takes the contract.
    return bisect_left(range(highest), True, key=lambda bound: find_unbounded(lines, given, bound) is None)


# Transactions


def _check_transaction(settings: Settings, text: bytes, modes: Modes) -> JsonObject:
    parameters = _parameters(settings, modes)
    try:
        transaction = decode_transaction(text, parameters)
        check_signatures(transaction)
    except InvalidTransaction as refusal:
        return {"contracts": [], "error": _error(refusal), "id": None, "modes": _modes(parameters), "valid": False}
    error: InvalidTransaction | ContractError | None = None
    trials: Sequence[Trial] = ()
    if transaction.contracts:
        try:
            trials = asyncio.run(_try(settings, transaction, parameters))
        except (InvalidTransaction, ContractError) as failure:
            error = failure
    error = error or next((trial.error for trial in trials if trial.error is not None), None)
    return {
        "contracts": [_trial(trial) for trial in trials],
        "error": _error(error),
        "id": transaction.id,
        "modes": _modes(parameters),
        "operation": transaction.operation.value,
        "valid": error is None,
        "version": transaction.version,
    }


def _parameters(settings: Settings, modes: Modes) -> ChainParameters:
    """As of a chain that is founded with these settings, or runs contracts in these modes."""
    kind = machine_engine(settings)
    asked = settings.chain.contracts
    if kind is None and None in (modes[0] or asked.zenroom, modes[1] or asked.scripts):
        say(f"Warning: this machine has no contract engine, so that contracts count as off: {INSTALL}")
    parameters = settings.chain.parameters(None if kind is None else kind.name)
    contracts = parameters.contracts
    zenroom, scripts = modes
    changed = replace(contracts, zenroom=zenroom or contracts.zenroom, scripts=scripts or contracts.scripts)
    if changed.on:
        changed = replace(changed, engine=require_machine_engine(settings).name)
    return replace(parameters, contracts=changed)


async def _try(settings: Settings, transaction: Transaction, parameters: ChainParameters) -> Sequence[Trial]:
    pool = make_pool(require_machine_engine(settings), settings, workers=1)
    judge = ContractJudge(pool)
    try:
        judge.follow(parameters)
        await pool.start()
        return await judge.trial(transaction)
    finally:
        judge.close()
        await pool.close()


def _trial(trial: Trial) -> JsonObject:
    execution, call = trial.execution, trial.call
    shown: JsonObject = {"error": _error(trial.error), "field": call.field, "purpose": call.purpose.value}
    if execution is None:
        return shown
    messages: list[JsonValue] = [*printable(execution.answer.logs)]
    return shown | {
        "expected": call.expected,
        "memory_bytes": execution.memory,
        "messages": messages,
        "output": execution.answer.output.decode("utf-8", "replace"),
        "seconds": round(execution.cpu, 6),
    }


def _modes(parameters: ChainParameters) -> JsonObject:
    contracts = parameters.contracts
    return {"engine": contracts.engine, "scripts": contracts.scripts, "zenroom": contracts.zenroom}


def _error(error: InvalidTransaction | ContractError | None) -> JsonObject | None:
    if error is None:
        return None
    if isinstance(error, InvalidTransaction):
        return {"class": error.code, "field": error.field, "reason": error.reason, "rule": error.rule}
    return {"class": type(error).__name__, "field": None, "reason": str(error), "rule": None}


# For people


def _page(document: JsonObject) -> str:
    lines = _contract_lines(document) if "bounds" in document else _transaction_lines(document)
    lines.append(("verdict", _verdict(document)))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:<{width}}{value}".rstrip() for name, value in lines)


def _contract_lines(document: JsonObject) -> list[tuple[str, JsonValue]]:
    lines: list[tuple[str, JsonValue]] = [("contract", document["contract"])]
    bounds = document["bounds"]
    assert isinstance(bounds, list)
    for bound in bounds:
        assert isinstance(bound, dict)
        value = "cannot be told" if bound["value"] is None else bound["value"]
        lines.append((str(bound["name"]), f"{value} of {bound['allowed']} ({bound['parameter']})"))
    return lines


def _transaction_lines(document: JsonObject) -> list[tuple[str, JsonValue]]:
    modes, contracts = document["modes"], document["contracts"]
    assert isinstance(modes, dict) and isinstance(contracts, list)
    lines: list[tuple[str, JsonValue]] = [
        ("chain", f"zenroom {modes['zenroom']}, scripts {modes['scripts']}, engine {modes['engine'] or 'none'}")
    ]
    if document["id"] is not None:
        lines += [
            ("transaction", document["id"]),
            ("form", f"{document['operation']} of version {document['version']}, its signatures verify"),
            ("contracts", len(contracts) or "none"),
        ]
    for item in contracts:
        assert isinstance(item, dict)
        lines += _trial_lines(item)
    return lines


def _trial_lines(item: JsonObject) -> list[tuple[str, JsonValue]]:
    error = item["error"]
    seconds, memory = item.get("seconds"), item.get("memory_bytes")
    took = "stopped"
    if isinstance(seconds, float) and isinstance(memory, int):
        took = effort(seconds, memory)
    lines: list[tuple[str, JsonValue]] = [(str(item["field"]), took)]
    if not isinstance(error, dict):
        return lines
    lines.append(("  refused", error["reason"]))
    if "output" not in item:
        return lines
    lines.append(("  expected", _shown(json.canonical(item["expected"]))))
    lines.append(("  printed", _shown(str(item["output"]).strip().encode()) or "nothing"))
    messages = item["messages"]
    assert isinstance(messages, list)
    return [*lines, *(("  engine", line) for line in messages)]


def _verdict(document: JsonObject) -> str:
    error = document["error"]
    if isinstance(error, dict):
        names = [str(error[name]) for name in ("class", "rule") if error.get(name)]
        place = f" at {error['field']}" if error.get("field") else ""
        return f"refused{place}: {error['reason']} ({', '.join(names)})"
    if "bounds" in document:
        return "within the bounds; `planetmint contract run` shows what it prints"
    return "its contracts say what it declares" if document["contracts"] else "nothing speaks against it"


def _shown(text: bytes) -> str:
    line = " ".join(printable(text))
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."
