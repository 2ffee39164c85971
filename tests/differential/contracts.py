# SPDX-License-Identifier: AGPL-3.0-or-later
"""Generated contracts, valid and damaged, through the published packages and engine and through the node's rules.

What the contract prints is taken from a run, so that most cases are valid before they are damaged. The two sides
give the contract other random numbers, so that none of the contracts here depends on any.
"""

import json
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from planetmint.conditions import decode_fulfillment
from planetmint.contracts import Purpose
from planetmint.model.condition import ThresholdFulfillment
from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.testing.build import Builder, Built, Contract, Dialect, all_of, identified
from planetmint.testing.ledger import Engine, Ledger
from tests.differential.environments import interpreter

Json = dict[str, Any]
PARAMETERS = ChainParameters(contracts=ContractParameters(zenroom="published", scripts="on"))
STATE = "5c" * 32


class Answer(NamedTuple):
    """What the published packages say; `error` is the class of one that they do not expect."""

    accepted: bool
    error: str | None


class Published:
    """A running `contract_oracle`."""

    def __init__(self, name: str) -> None:
        program = Path(__file__).with_name("contract_oracle.py")
        self._process = subprocess.Popen(
            [str(interpreter(name)), "-I", "-W", "ignore", str(program), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.versions: dict[str, str] = self._read()

    def judge(self, transaction: Json) -> Answer:
        """The published verdict on the signatures, contracts and the script of a transaction."""
        return Answer(**self._ask(do="judge", transaction=transaction))

    def make(self, seed: bytes, script: Json, lock: Json | None) -> Json:
        """A transaction that the packages make and sign, and the URI of its fulfillment's condition."""
        return self._ask(do="make", seed=seed.hex(), script=script, lock=lock)

    def run(self, script: str, data: Any, keys: Any) -> Json:
        """Output and logs of a run, as the packages run it."""
        return self._ask(do="run", script=script, data=data, keys=keys)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, **request: Any) -> Json:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Json:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the worker with the published packages has ended")
        value: Json = json.loads(line)
        return value


@contextmanager
def published(name: str) -> Iterator[Published]:
    worker = Published(name)
    try:
        yield worker
    finally:
        worker.close()


class Sample(NamedTuple):
    """A contract and what it is given."""

    script: str
    data: Json
    keys: Json | None = None


def _word(rng: random.Random) -> str:
    letters = 'abcXYZ019 _-.é\U0001f600"\\/\n\x7f'
    return "".join(rng.choice(letters) for _ in range(rng.randint(1, 12)))


def _name(rng: random.Random) -> str:
    return rng.choice(("a", "b", "my name", "under_score", "Houses", "x1"))


def _prints_text(rng: random.Random) -> Sample:
    word = rng.choice(("ok", "two words", "1", "é"))
    return Sample(f"Given nothing\nThen print the string '{word}'\n", {})


def _prints_texts(rng: random.Random) -> Sample:
    lines = "".join(f"{rng.choice(('Then', 'And'))} print the string '{i}'\n" for i in range(rng.randint(1, 3)))
    return Sample("Given nothing\nThen print the string 'first'\n" + lines, {})


def _prints_member(rng: random.Random) -> Sample:
    name = _name(rng)
    kind, value = rng.choice(
        (
            ("string", _word(rng)),
            ("number", rng.choice((0, 1, 7, -3, 2.5, 1e3, 65536, 1e15))),
            ("integer", rng.choice(("1", "123456789012345678901234567890"))),
            ("float", rng.choice((1, 0.1, 3.75))),
            ("hex", rng.choice(("00ff", "zz"))),
            ("base64", rng.choice(("aGVsbG8=", "AA=="))),
            ("string array", [_word(rng) for _ in range(rng.randint(1, 3))]),
            ("number array", [rng.randint(0, 9) for _ in range(rng.randint(1, 3))]),
            ("string dictionary", {"k": _word(rng), "l": {"m": "n"}}),
            ("string dictionary", {"flag": True, "n": 1}),
            ("string dictionary", {"flag": False, "n": 0, "list": [1, True]}),
        )
    )
    form = rng.choice(
        (f"Then print the '{name}'", f"Then print '{name}'", "Then print data", "Then print all data")
    )
    return Sample(f"Given I have a '{kind}' named '{name}'\n{form}\n", {name: value, "other": [None, True, 1]})


def _compares(rng: random.Random) -> Sample:
    verb = rng.choice(("is equal to", "is not equal to"))
    script = (
        "Given I have a 'string' named 'a'\nGiven I have a 'string' named 'b'\n"
        f"When I verify 'a' {verb} 'b'\nThen print the string 'ok'\n"
    )
    return Sample(script, {"a": rng.choice("xy"), "b": rng.choice("xy")})


def _calculates(rng: random.Random) -> Sample:
    operator = rng.choice("+-*/%")
    script = (
        "Given I have a 'number' named 'a'\nGiven I have a 'number' named 'b'\n"
        f"When I create the result of 'a' {operator} 'b'\nThen print the 'result'\n"
    )
    return Sample(script, {"a": rng.randint(0, 50), "b": rng.choice((0, 1, 2, 7, 0.5))})


def _hashes(rng: random.Random) -> Sample:
    script = "Given I have a 'string' named 'a'\nWhen I create the hash of 'a'\nThen print the 'hash'\n"
    return Sample(script, {"a": _word(rng)})


def _branches(rng: random.Random) -> Sample:
    script = (
        "Given I have a 'number' named 'a'\nGiven I have a 'number' named 'b'\n"
        "If I verify number 'a' is less than 'b'\nThen print string 'less'\nEndIf\n"
        "If I verify number 'a' is more than 'b'\nThen print string 'more'\nEndIf\n"
    )
    return Sample(script, {"a": rng.randint(0, 3), "b": rng.randint(0, 3)})


def _loops(rng: random.Random) -> Sample:
    script = (
        "Given I have a 'string array' named 'list'\nWhen I create the 'string array' named 'out'\n"
        "Foreach 'one' in 'list'\nWhen I copy 'one' in 'out'\nEndForeach\nThen print the 'out'\n"
    )
    return Sample(script, {"list": [_word(rng) for _ in range(rng.randint(0, 4))]})


def _derives(rng: random.Random) -> Sample:
    rounds = rng.choice((1, 100, 10_000, 10_001))
    script = (
        "Given I have a 'string' named 'a'\n"
        f"When I create the key derivation of 'a' with '{rounds}' rounds\nThen print the 'key derivation'\n"
    )
    return Sample(script, {"a": "x"})


def _fails(rng: random.Random) -> Sample:
    script = rng.choice(
        (
            "",
            "Bogus words\n",
            "Given nothing\n",
            "Given nothing\nThen print the 'nowhere'\n",
            "Given I have a 'string' named 'gone'\nThen print the 'gone'\n",
            "Given nothing\nWhen I do what nobody knows\nThen print the string 'ok'\n",
            "Then print the string 'ok'\n",
            "Rule unknown ignore\nGiven nothing\nWhen I do what nobody knows\nThen print the string 'ok'\n",
            "Scenario 'nothing like it'\nGiven nothing\nThen print the string 'ok'\n",
            "# a comment\n\n  Given nothing\n\tThen print the string 'ok'\n",
            "given nothing\nTHEN PRINT THE STRING 'ok'",
            "Given nothing\nThen print the string 'ok'\nThen debug\n",
        )
    )
    return Sample(script, rng.choice(({}, {"a": 1})))


SAMPLES: Sequence[Callable[[random.Random], Sample]] = (
    _prints_text, _prints_texts, _prints_member, _prints_member, _compares, _calculates, _hashes, _branches,
    _loops, _derives, _fails,
)  # fmt: skip


def make_sample(rng: random.Random) -> Sample:
    """Any of the above; some members of the data stand among the keys instead."""
    sample = rng.choice(SAMPLES)(rng)
    if sample.data and rng.random() < 0.3:
        name = rng.choice(sorted(sample.data))
        return Sample(
            sample.script, {k: v for k, v in sample.data.items() if k != name}, {name: sample.data[name]}
        )
    return sample


# Expected outputs


def damage(rng: random.Random, value: Any) -> Any:
    """Another value than `value`, or the same in another spelling."""
    if isinstance(value, dict) and value and rng.random() < 0.7:
        name = rng.choice(sorted(value))
        return {**value, name: damage(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.6:
        place = rng.randrange(len(value))
        return [*value[:place], damage(rng, value[place]), *value[place + 1 :]]
    if isinstance(value, bool):
        return rng.choice((int(value), float(value), not value, None, str(value)))
    if isinstance(value, (int, float)):
        same = [float(value), bool(value), value]
        return rng.choice((*same, int(value), value + 1, str(value), [value]))
    if isinstance(value, str):
        return rng.choice((value + "x", value.upper(), [value], {"output": value}, value[:-1], value))
    if isinstance(value, list):
        return rng.choice((value[::-1], [*value, 1], value[1:], {"output": value}, {}))
    if isinstance(value, dict):
        return rng.choice(({**value, "more": 1}, {"output": value}, [value], dict(list(value.items())[1:])))
    return rng.choice(("x", 0, [], {}))


def as_container(value: Any) -> Any:
    """`value`, or a list of it: what a script declares is an object or an array."""
    return value if isinstance(value, (dict, list)) else [value]


# Cases


@dataclass(frozen=True, slots=True)
class Case:
    """A transaction with a contract.

    Attributes:
        sample: What it runs.
        wire: The transaction.
        expected: What it declares.
        printed: What the contract prints, as a value; None where that is no JSON object.
        purpose: See `Purpose`.
    """

    sample: Sample
    wire: Json
    expected: Any
    printed: Json | None
    purpose: Purpose

    def ours(self, engine: Engine) -> InvalidTransaction | None:
        """The node's verdict."""
        return Ledger(PARAMETERS, engine=engine).verdict(json.dumps(self.wire).encode())


def printed_by(sample: Sample, worker: Published) -> Json | None:
    """What the contract prints in the published engine; None where that is no object."""
    output = worker.run(sample.script, sample.data, sample.keys or {})["output"]
    value = json.loads(output) if output else None
    return value if isinstance(value, dict) else None


def make_case(rng: random.Random, purpose: Purpose, worker: Published) -> Case:
    """A transaction with a generated contract: right two times out of five."""
    sample = make_sample(rng)
    printed = printed_by(sample, worker)
    right = {"nothing": "printed"} if printed is None else printed.get("output", printed)
    expected = as_container(right if rng.random() < 0.4 else damage(rng, right))
    if rng.random() < 0.05:
        expected = as_container(printed)
    built = _scripted(sample, expected) if purpose is Purpose.SCRIPT else _locked(rng, sample, expected)
    wire = built.wire
    if rng.random() < 0.1:
        wire = tampered(rng, wire)
    return Case(sample, wire, wire["script"].get("outputs", wire["script"].get("output")), printed, purpose)


def tampered(rng: random.Random, wire: Json) -> Json:
    """The transaction with something of its script changed after signing, with the id that fits it."""
    script = {**wire["script"]}
    name = rng.choice(sorted({"inputs", "input", "outputs", "output", "code"} & script.keys()))
    if isinstance(script[name], str):
        script[name] += "# more\n"
    elif name == "code":
        script[name] = {**script[name], "raw": "other"}
    else:
        script[name] = damage(rng, script[name]) if name.startswith("out") else {**script[name], "a": "tampered"}
    script[name] = script[name] if isinstance(script[name], (str, dict, list)) else [script[name]]
    return identified({**wire, "script": script})


def _scripted(sample: Sample, expected: Any) -> Built:
    draft = Builder(Dialect.PLANETMINT_2).draft_create("alice")
    return draft.scripted({**sample.data, **(sample.keys or {})}, expected, code=sample.script).signed()


def _locked(rng: random.Random, sample: Sample, expected: Any) -> Built:
    """Data stands in the fulfillment, in the transaction or in both, where the transaction's counts."""
    inside = {name: value for name, value in sample.data.items() if rng.random() < 0.5}
    given = {name: value for name, value in sample.data.items() if name not in inside}
    if given and rng.random() < 0.3:
        inside[rng.choice(sorted(given))] = "overlaid"
    contract = Contract(sample.script, inside or rng.choice((None, {})), sample.keys or {})
    owner = all_of("alice", contract) if rng.random() < 0.1 else contract
    draft = Builder(Dialect.PLANETMINT_1).draft_create(owner, [(1, "alice")])
    return draft.scripted(given, expected).signed()


# Where they may differ


@dataclass(frozen=True, slots=True)
class Difference:
    """A deliberate difference; members as in `differences.Difference`."""

    name: str
    published: str
    node: str
    reason: str
    source: str
    applies: Callable[[Case, InvalidTransaction | None, Answer], bool]


DIFFERENCES = (
    Difference(
        "contract-true-is-not-one",
        "outputs of contracts are compared as Python values, where `true` equals 1 and `false` equals 0",
        "compared as JSON values: numbers equal numbers alone",
        "they are different things to everybody else who reads them",
        "transactions 6",
        lambda case, ours, theirs: (
            theirs.accepted and ours is not None and ours.rule == "contract.output" and _has_boolean(case)
        ),
    ),
    Difference(
        "contract-bounds",
        "no bounds on a contract's bytes, data, statements and counts, nor on statements for debugging",
        "InvalidScript, for a condition InvalidSignature, beyond the chain's bounds",
        "a contract must not hold validators up, nor be able to end the engine",
        "consensus-and-storage 8",
        lambda case, ours, theirs: (
            theirs.accepted
            and ours is not None
            and ours.rule
            in (
                "contract.bytes",
                "contract.data",
                "contract.statements",
                "contract.debug",
                "contract.undetermined",
                "contract.number",
            )
        ),
    ),
    Difference(
        "contract-json-literals",
        "data and keys of a fulfillment are read as Python literals: nested `true`, `false` and `null` fail (500)",
        "they are read as JSON",
        "the published packages write them as JSON",
        "transactions 5.4",
        lambda case, ours, theirs: (
            ours is None and theirs.error == "ValueError" and case.purpose is Purpose.CONDITION
        ),
    ),
    Difference(
        "contract-in-threshold",
        "a contract is run only where it is the whole fulfillment; inside a threshold it gets a digest and fails",
        "it is run wherever it stands",
        "beside owners' signatures is where contracts are safe",
        "transactions 5.4",
        lambda case, ours, theirs: ours is None and case.purpose is Purpose.CONDITION and _in_threshold(case),
    ),
    Difference(
        "contract-text",
        "a condition's script that is not ASCII is written in Latin-1, read as UTF-8 and so never fulfilled",
        "it is UTF-8",
        "the published form cannot work",
        "transactions 5.4",
        lambda case, ours, theirs: (
            ours is None and case.purpose is Purpose.CONDITION and not case.sample.script.isascii()
        ),
    ),
)
"""What the comparison of contracts may find."""


def _has_boolean(case: Case) -> bool:
    return any(word in json.dumps([case.expected, case.printed]) for word in ("true", "false"))


def _in_threshold(case: Case) -> bool:
    fulfillment = case.wire["inputs"][0]["fulfillment"]
    return isinstance(decode_fulfillment(fulfillment, max_depth=16, max_leaves=10), ThresholdFulfillment)
