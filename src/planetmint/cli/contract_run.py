# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `contract run`: one contract in the node's sandbox, without a node."""

import asyncio
import sys
from pathlib import Path

from planetmint.cli.console import CommandFailed, read_file, say, show_json
from planetmint.contracts import ContractCall, Purpose, judge, make_call
from planetmint.model import json
from planetmint.model.errors import InvalidTransaction, SchemaValidationError
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from planetmint.runtime.contracts import INSTALL, machine_engine, make_pool
from planetmint.runtime.settings import ConfigurationError, Settings
from planetmint.sandbox import EngineKind

_FAILED = "contract.failed"
_ANY_TEXT = ContractParameters(
    max_bytes=1 << 40, max_data_bytes=1 << 40, max_statements=1 << 40, max_number=1 << 62
)


def run(
    settings: Settings, file: Path, data: Path | None, keys: Path | None, *, bounded: bool, as_json: bool
) -> int:
    """Run the contract in `file` and print its output; the exit code.

    Args:
        settings: Bounds and engine.
        file: Zencode.
        data, keys: JSON objects; with keys it runs as a condition does.
        bounded: Whether it has to keep to the bounds of a chain and of this node.
        as_json: Print everything as one JSON object.

    Raises:
        CommandFailed: A file that is not what it must be, or the contract was stopped or refused unread.
        ConfigurationError: There is no engine.
    """
    parameters = settings.chain.parameters()
    call = read_call(file, data, keys, parameters, None if bounded else _ANY_TEXT)
    kind = require_machine_engine(settings)
    patience = Patience.ADMISSION if bounded else Patience.DECIDED
    try:
        execution = asyncio.run(_run(settings, kind, call, patience))
    except ContractOverrun as error:
        raise CommandFailed(f"{name_of(file)} was stopped: {error}. {_MORE if bounded else ''}") from None
    except ContractsUnavailable as error:
        raise CommandFailed(f"{name_of(file)} cannot be run: {error}") from None
    refusal = judge(call, execution.answer, parameters)
    failed = refusal if refusal is not None and refusal.rule == _FAILED else None
    if as_json:
        show_json(_document(kind, execution, failed))
    else:
        _print(kind, execution, failed)
    return 0 if failed is None else 1


_MORE = (
    "The settings contracts.seconds, contracts.memory_bytes and contracts.output_bytes say what a run may use; "
    "--no-bounds runs it without them"
)


def require_machine_engine(settings: Settings) -> EngineKind:
    """The engine of this machine. Raises ConfigurationError where there is none."""
    kind = machine_engine(settings)
    if kind is None:
        raise ConfigurationError(f"This machine has no contract engine: {INSTALL}")
    return kind


def read_call(
    file: Path,
    data: Path | None,
    keys: Path | None,
    parameters: ChainParameters,
    bounds: ContractParameters | None = None,
) -> ContractCall:
    """The run of a contract that stands in files.

    Raises:
        CommandFailed: A file cannot be read or is not what it must be, or a chain would refuse the contract.
    """
    script = read_script(file, read_file(file))
    try:
        return call_of(script, read_object(data, parameters), read_object(keys, parameters), parameters, bounds)
    except InvalidTransaction as refusal:
        raise CommandFailed(
            f"a chain refuses {name_of(file)} without running it: {refusal.reason} ({refusal.rule}). `planetmint "
            "contract check` shows the bounds, --no-bounds runs it all the same"
        ) from None


def call_of(
    script: str,
    data: JsonObject | None,
    keys: JsonObject | None,
    parameters: ChainParameters,
    bounds: ContractParameters | None = None,
) -> ContractCall:
    """The run of a contract, with keys as a condition, else as a script; raises what `make_call` does."""
    purpose = Purpose.SCRIPT if keys is None else Purpose.CONDITION
    return make_call(purpose, "script", script, data or {}, keys, None, bounds or parameters.contracts)


def read_script(file: Path, text: bytes) -> str:
    """The text of a contract, as it stands in a file. Raises CommandFailed."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{name_of(file)} is no contract: it is not UTF-8 at byte {error.start}") from None


def read_object(file: Path | None, parameters: ChainParameters) -> JsonObject | None:
    """The JSON object in a file; None for no file. Raises CommandFailed."""
    if file is None:
        return None
    try:
        value = json.parse(
            read_file(file), max_depth=parameters.max_json_depth, max_digits=parameters.max_number_digits
        )
    except SchemaValidationError as error:
        raise CommandFailed(f"{name_of(file)} cannot be read: {error.reason}") from None
    if not isinstance(value, dict):
        raise CommandFailed(f'{name_of(file)} must hold a JSON object like {{"count": 21}}')
    return value


def name_of(file: Path) -> str:
    """A file in words."""
    return "standard input" if str(file) == "-" else f"`{file}`"


def printable(text: bytes) -> list[str]:
    """Lines of a text that somebody else wrote, with nothing in them that moves a terminal's cursor."""
    lines = text.decode("utf-8", "replace").splitlines()
    return ["".join(one if one.isprintable() else " " for one in line).rstrip() for line in lines]


def effort(seconds: float, memory: int) -> str:
    """What a run took, in words."""
    return f"{seconds * 1000:.1f} ms of processor time, {memory / (1 << 20):.1f} MiB of memory"


async def _run(settings: Settings, kind: EngineKind, call: ContractCall, patience: Patience) -> Execution:
    pool = make_pool(kind, settings, workers=1)
    try:
        await pool.start()
        return await pool.run(call, patience)
    finally:
        await pool.close()


def _print(kind: EngineKind, execution: Execution, failed: InvalidTransaction | None) -> None:
    output = execution.answer.output
    for line in printable(execution.answer.logs):
        say(line)
    say(f"{kind.name}: {effort(execution.cpu, execution.memory)}")
    sys.stdout.flush()
    sys.stdout.buffer.write(output if output.endswith(b"\n") or not output else output + b"\n")
    sys.stdout.buffer.flush()
    if failed is not None:
        say(f"Error: {failed.reason}")


def _document(kind: EngineKind, execution: Execution, failed: InvalidTransaction | None) -> JsonObject:
    messages: list[JsonValue] = [*printable(execution.answer.logs)]
    return {
        "engine": kind.name,
        "error": None if failed is None else failed.reason,
        "memory_bytes": execution.memory,
        "messages": messages,
        "output": execution.answer.output.decode("utf-8", "replace"),
        "seconds": round(execution.cpu, 6),
    }
