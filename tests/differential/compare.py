# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs scenarios through the node's rules and through the published packages, and compares the answers.

Ids must be equal wherever both sides compute one; so must verdicts, and error classes where both refuse.
What differs must be on the list in `differences`, else it is a mismatch.
"""

import base64
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha3_256
from pathlib import Path
from typing import Any

from planetmint.chain import execute_block
from planetmint.model import json as node_json
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import OutputRecord, OutputRef, Transaction
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.rules import decode_transaction
from planetmint.testing.ledger import check_with
from tests.differential import environments, mutators
from tests.differential.chains import DIALECTS, VALIDATORS
from tests.differential.differences import Answer, Comparison, find_difference
from tests.differential.generate import Case, Mutators, Scenario, scenarios
from tests.differential.wire import Json

PARAMETERS = ChainParameters()

_NO_HASH = "0" * 64


class Ledger:
    """A `StateView` over the committed transactions of one scenario."""

    def __init__(self) -> None:
        self._transactions: set[str] = set()
        self._outputs: dict[OutputRef, OutputRecord] = {}
        self._elections: dict[str, ElectionRecord] = {}

    def has_transaction(self, transaction_id: str) -> bool:
        """See `StateView`."""
        return transaction_id in self._transactions

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """See `StateView`."""
        return self._outputs.get(ref)

    def validators(self) -> ValidatorSet:
        """See `StateView`."""
        return tuple(Validator(key.raw, power) for key, power in VALIDATORS)

    def validator_changes(self) -> tuple[int, ...]:
        """See `StateView`."""
        return (1,)

    def election(self, election_id: str) -> ElectionRecord | None:
        """See `StateView`."""
        return self._elections.get(election_id)

    def chain(self) -> ChainRecord:
        """See `StateView`."""
        return ChainRecord("differential")

    def commit(self, transactions: Sequence[Transaction]) -> None:
        """Apply one block.

        Raises:
            ContextRefused: One of the transactions breaks a rule.
        """
        result = execute_block(self, 1, transactions, _NO_HASH, check_with(None, PARAMETERS))
        for transaction, verdict in zip(transactions, result.verdicts, strict=True):
            if verdict is not None:
                raise ContextRefused(f"{transaction.id}: {verdict.code}: {verdict.reason}")
        self._transactions.update(transaction.id for transaction in transactions)
        self._elections.update((record.election_id, record) for record in result.elections)
        self._outputs.update((record.ref, record) for record in result.created)
        for spend in result.spent:
            self._outputs[spend.ref] = self._outputs[spend.ref]._replace(spender=spend.spender)


class ContextRefused(AssertionError):
    """The node refuses a transaction that the generator made to be valid."""


class Node:
    """The node's answers to the bodies of one scenario; on a chain without contracts unless told otherwise."""

    def __init__(
        self, context: Sequence[Json], block: Sequence[Json], parameters: ChainParameters = PARAMETERS
    ) -> None:
        self._parameters = parameters
        self._ledger = Ledger()
        self._ledger.commit([_decode(item) for item in context])
        self._block = [_decode(item) for item in block]
        self._height = 2

    def judge(self, text: str) -> Answer:
        """Decode the body and let it follow the block under way.

        An error of the node that is no verdict becomes an answer that agrees with nothing.
        """
        try:
            return self._judge(text.encode())
        except ContextRefused:
            raise
        except Exception as error:  # noqa: BLE001
            return Answer(None, False, f"uncaught {type(error).__name__}", str(error)[:300], False)

    def _judge(self, body: bytes) -> Answer:
        try:
            transaction = decode_transaction(body, self._parameters)
        except InvalidTransaction as error:
            return Answer(_computed_id(body), False, error.code, error.reason, True, error.rule)
        assert not transaction.contracts, "contracts are compared apart"
        check = check_with(None, self._parameters)
        result = execute_block(self._ledger, self._height, [*self._block, transaction], _NO_HASH, check)
        for verdict in result.verdicts[:-1]:
            if verdict is not None:
                raise ContextRefused(f"{verdict.code}: {verdict.reason}")
        verdict = result.verdicts[-1]
        if verdict is None:
            return Answer(transaction.id, True)
        return Answer(transaction.id, False, verdict.code, verdict.reason, True, verdict.rule)


def _decode(transaction: Json) -> Transaction:
    try:
        return decode_transaction(json.dumps(transaction).encode(), PARAMETERS)
    except InvalidTransaction as error:
        raise ContextRefused(f"{transaction['id']}: {error.code}: {error.reason}") from error


def _computed_id(body: bytes) -> str | None:
    """The id that the node would compute over a body that it refuses."""
    try:
        value = node_json.parse(body, max_depth=PARAMETERS.max_json_depth, max_digits=PARAMETERS.max_number_digits)
        if not isinstance(value, dict):
            return None
        return sha3_256(node_json.canonical({**value, "id": None})).hexdigest()
    except InvalidTransaction:
        return None


class Oracle:
    """A running `oracle` worker of one generation."""

    def __init__(self, generation: str, python: Path) -> None:
        program = Path(__file__).with_name("oracle.py")
        self._process = subprocess.Popen(
            [str(python), "-I", "-W", "ignore", str(program), generation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.versions: dict[str, str] = self._read()["versions"]

    def judge(
        self,
        context: Sequence[Json],
        block: Sequence[Json],
        texts: Sequence[str],
        validators: Sequence[tuple[bytes, int]] = tuple((key.raw, power) for key, power in VALIDATORS),
    ) -> list[Answer]:
        """The published verdict on each text.

        Raises:
            RuntimeError: The worker has ended.
        """
        assert self._process.stdin is not None
        request = {
            "context": list(context),
            "block": list(block),
            "candidates": list(texts),
            "validators": [[base64.b64encode(key).decode(), power] for key, power in validators],
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answers: list[dict[str, Any]] = self._read()["answers"]
        return [Answer(**answer) for answer in answers]

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the oracle has ended with code {self._process.wait(30)}")
        return json.loads(line)


@contextmanager
def open_oracles() -> Iterator[dict[str, Oracle]]:
    """One worker per generation, by its name."""
    oracles = {name: Oracle(name, python) for name, python in environments.make_all().items()}
    try:
        yield oracles
    finally:
        for oracle in oracles.values():
            oracle.close()


@dataclass
class Report:
    """What a run found.

    Attributes:
        cases: Number of bodies compared.
        outcomes: By dialect and outcome: `accepted`, `refused alike`, or the name of a difference.
        labels: By what was done to the transaction.
        mismatches: What is on no list.
    """

    cases: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    mismatches: list["Mismatch"] = field(default_factory=list)


@dataclass(frozen=True)
class Mismatch:
    """A disagreement that no documented difference explains; `context` and `block` hold only what it needs."""

    scenario: str
    label: str
    comparison: Comparison
    context: tuple[Json, ...]
    block: tuple[Json, ...]

    def __str__(self) -> str:
        ours, theirs = self.comparison.ours, self.comparison.theirs
        lines = [
            f"scenario {self.scenario} ({self.comparison.dialect.generation}), {self.label}",
            f"  node:      {ours}",
            f"  published: {theirs}",
            *(f"  context: {json.dumps(item)}" for item in self.context),
            *(f"  block: {json.dumps(item)}" for item in self.block),
            f"  body: {self.comparison.text}",
        ]
        return "\n".join(lines)


def run(
    seed: int,
    count: int,
    progress: Callable[[int], None] = lambda done: None,
    parameters: ChainParameters = PARAMETERS,
    among: Mutators = mutators.ALL,
) -> Report:
    """Compare `count` cases; the generations work side by side.

    Args:
        seed: Of the generator.
        count: Number of request bodies.
        progress: Told the number of cases done, now and then.
        parameters: Of the node's chain.
        among: What may be wrong with a transaction.
    """
    report = Report()
    lock = threading.Lock()
    with open_oracles() as oracles, ThreadPoolExecutor(len(oracles)) as pool:

        def work(generation: str) -> None:
            for scenario in scenarios(seed, count, among):
                if scenario.dialect.generation == generation:
                    found = compare(scenario, oracles[generation], parameters)
                    with lock:
                        _add(report, scenario, found, oracles[generation])
                        progress(report.cases)

        list(pool.map(work, [dialect.generation for dialect in DIALECTS]))
    return report


def compare(scenario: Scenario, oracle: Oracle, parameters: ChainParameters = PARAMETERS) -> list[Comparison]:
    """Both answers to each body of a scenario, with what explains them."""
    node = Node(scenario.context, scenario.block, parameters)
    texts = [case.text for case in scenario.cases]
    theirs = oracle.judge(scenario.context, scenario.block, texts)
    known = (*scenario.context, *scenario.block)
    return [
        Comparison(scenario.dialect, text, known, node.judge(text), answer)
        for text, answer in zip(texts, theirs, strict=True)
    ]


def outcome(comparison: Comparison, *, valid: bool = False) -> str | None:
    """Name of what the two answers have come to, None for a mismatch.

    Args:
        comparison: Both answers.
        valid: The transaction keeps every rule of the node; then no difference excuses a refusal.
    """
    ours, theirs = comparison.ours, comparison.theirs
    if valid and not ours.accepted:
        return None
    same_id = ours.id == theirs.id or ours.id is None or theirs.id is None
    if same_id and ours.accepted and theirs.accepted:
        return "accepted"
    if same_id and not ours.accepted and not theirs.accepted and ours.error_class == theirs.error_class:
        return "refused alike"
    difference = find_difference(comparison)
    return None if difference is None else difference.name


def _add(report: Report, scenario: Scenario, comparisons: Sequence[Comparison], oracle: Oracle) -> None:
    for case, comparison in zip(scenario.cases, comparisons, strict=True):
        report.cases += 1
        report.labels[case.label] += 1
        found = outcome(comparison, valid=case.valid)
        if found is None:
            report.mismatches.append(reduce(scenario, case, comparison, oracle))
        else:
            report.outcomes[scenario.dialect.name, found] += 1


def reduce(scenario: Scenario, case: Case, comparison: Comparison, oracle: Oracle) -> Mismatch:
    """The mismatch with the fewest transactions before it that still give the same two answers."""

    def gives_the_same(context: Sequence[Json], block: Sequence[Json]) -> bool:
        try:
            ours = Node(context, block).judge(case.text)
        except ContextRefused:
            return False
        return ours == comparison.ours and oracle.judge(context, block, [case.text]) == [comparison.theirs]

    context, block = list(scenario.context), list(scenario.block)
    for item in reversed(scenario.block):
        if gives_the_same(context, [other for other in block if other is not item]):
            block.remove(item)
    for item in reversed(scenario.context):
        if gives_the_same([other for other in context if other is not item], block):
            context.remove(item)
    return Mismatch(scenario.name, case.label, comparison, tuple(context), tuple(block))


if __name__ == "__main__":
    sys.exit("run python -m tests.differential")
