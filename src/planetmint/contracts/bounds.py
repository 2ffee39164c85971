# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is refused without being run: contracts whose texts do not show that they are of a bounded size.

A limit of time or memory would give another verdict on every machine, so a block's verdict comes from the texts
alone (transactions 6; parameters in consensus-and-storage 8). Bytes and statements are counted. Statements that
print the engine's whole memory are refused. Of numbers only those are bounded that set a count, a size or rounds:
`planetmint.contracts.counts` knows them.
"""

from planetmint.contracts.call import ContractCall
from planetmint.contracts.counts import find_unbounded
from planetmint.contracts.refusal import refusal
from planetmint.contracts.zencode import Statement, lowered, statements
from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import JsonValue
from planetmint.model.parameters import ContractParameters

_DEBUGGING = frozenset({("backtrace",), ("codec",), ("config",), ("debug",), ("schema",), ("trace",)})
"""The statements that print what the engine holds, in every section of a script; there are no others."""


_UNDETERMINED = frozenset({"dilithium", "kyber", "ntrup"})
"""Keys of scenario ``qp`` (zenroom 3.16.1): made of the machine's own chance, and the engine reads thousands
of bytes of a key without a look at its length: it answers with whatever lies in its memory."""


def check_bounds(call: ContractCall, values: tuple[JsonValue, ...], parameters: ContractParameters) -> None:
    """Hold a contract against the chain's bounds.

    Args:
        call: The contract.
        values: What `call.data` and `call.keys` say.
        parameters: The bounds.

    Raises:
        InvalidScript, InvalidSignature: By purpose; rules ``contract.bytes``, ``contract.data``,
            ``contract.statements``, ``contract.debug``, ``contract.undetermined``, ``contract.number``.
    """
    fault = _check_size(call, parameters) or _check_statements(call, values, parameters)
    if fault is not None:
        rule, reason = fault
        raise refused(call, rule, reason)


def refused(call: ContractCall, rule: str, reason: str) -> InvalidTransaction:
    """The refusal of `call`."""
    return refusal(call.purpose, call.field, rule, reason)


def _check_size(call: ContractCall, parameters: ContractParameters) -> tuple[str, str] | None:
    size = len(call.script.encode())
    if size > parameters.max_bytes:
        return "contract.bytes", f"the contract has {size} bytes, {parameters.max_bytes} are allowed"
    if "\0" in call.script:
        # The engine would take it for the end of the script.
        return "contract.bytes", "the contract holds a NUL character"
    size = len(call.data) + len(call.keys or "")
    if size > parameters.max_data_bytes:
        allowed = parameters.max_data_bytes
        return "contract.data", f"data and keys of the contract have {size} bytes, {allowed} are allowed"
    return None


def _check_statements(
    call: ContractCall, values: tuple[JsonValue, ...], parameters: ContractParameters
) -> tuple[str, str] | None:
    script = list(statements(call.script))
    if len(script) > parameters.max_statements:
        allowed = parameters.max_statements
        return "contract.statements", f"the contract has {len(script)} statements, {allowed} are allowed"
    for statement in script:
        if statement.words in _DEBUGGING:
            name = statement.words[0]
            return "contract.debug", f"line {statement.number}: the debugging statement '{name}' is refused"
        if _is_undetermined(statement):
            reason = "scenario 'qp' and its keys are refused: what they do differs from machine to machine"
            return "contract.undetermined", f"line {statement.number}: {reason}"
    unbounded = find_unbounded(script, values, parameters.max_number)
    return None if unbounded is None else ("contract.number", unbounded)


def _is_undetermined(statement: Statement) -> bool:
    """Whether it loads the scenario ``qp``, or is one of its statements."""
    if not _UNDETERMINED.isdisjoint(statement.words):
        return True
    if statement.words[:1] != ("scenario",):
        return False
    return any("qp" in lowered(part) for part in (*statement.words, *statement.arguments))
