# SPDX-License-Identifier: AGPL-3.0-or-later
"""The catalogue of invalid transactions: complete, unambiguous, and refused by the rules as it says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import planetmint
from planetmint.model import errors
from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ZenroomMode
from planetmint.testing.invalid import VALIDATORS, InvalidCase, catalogue
from planetmint.testing.ledger import Engine, Ledger
from tests.support.contract_verdicts import chain_parameters, engine_here

SOURCE = Path(planetmint.__file__).parent
CASES = catalogue()
BOUND, PUBLISHED = catalogue("bound"), catalogue("published")
ALL = (*CASES, *BOUND, *PUBLISHED)

WITHOUT_CONTRACTS = {"contracts.off", "script.off"}
"""Rules of chains without contracts."""

RESERVED = {"TransactionOwnerError"}
"""Classes that clients may know by name and that no rule raises."""

OF_CONSENSUS_BYTES = {"canonical"}
"""Rules that hold for what an engine brings, not for what a client sends."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_rules_refuse_it_with_its_class_and_rule(case: InvalidCase) -> None:
    ledger = Ledger(validators=VALIDATORS)
    ledger.take_all(case.setup)
    verdict = ledger.verdict(case.transaction)
    assert verdict is not None, "accepted"
    assert (verdict.code, verdict.rule) == (case.error.__name__, case.rule), verdict.reason


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with engine_here() as answer:
        yield answer


@pytest.mark.parametrize("case", BOUND, ids=lambda case: case.name)
def test_a_chain_with_bound_contracts_refuses_it_with_its_class_and_rule(
    case: InvalidCase, engine: Engine
) -> None:
    assert verdict_on(case, Ledger(chain_parameters("bound"), VALIDATORS, engine)) == expected(case)


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.name)
def test_a_chain_with_published_contracts_refuses_it_with_its_class_and_rule(
    case: InvalidCase, engine: Engine
) -> None:
    assert verdict_on(case, Ledger(chain_parameters("published"), VALIDATORS, engine)) == expected(case)


@pytest.mark.parametrize("mode", ["bound", "published"])
def test_what_has_no_contract_is_refused_alike_on_a_chain_with_contracts(mode: ZenroomMode) -> None:
    ledger = Ledger(chain_parameters(mode), VALIDATORS)
    cases = [case for case in CASES if case.rule not in WITHOUT_CONTRACTS]
    assert [case.name for case in cases if verdict_on(case, ledger) != expected(case)] == []


def expected(case: InvalidCase) -> tuple[str, str]:
    return case.error.__name__, case.rule


def verdict_on(case: InvalidCase, ledger: Ledger) -> tuple[str, str] | None:
    ledger.take_all(dict.fromkeys(case.setup))
    verdict = ledger.verdict(case.transaction)
    return None if verdict is None else (verdict.code, verdict.rule)


def test_names_are_unique() -> None:
    for cases in (CASES, (*CASES, *BOUND), (*CASES, *PUBLISHED)):
        assert len({case.name for case in cases}) == len(cases)


def test_every_class_that_a_rule_can_raise_is_covered() -> None:
    known = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, InvalidTransaction) and value is not InvalidTransaction
    }
    assert {case.error.__name__ for case in CASES} == known - RESERVED


def test_every_rule_that_stands_in_the_source_is_covered() -> None:
    assert rules_in_source() - {case.rule for case in ALL} == OF_CONSENSUS_BYTES


@pytest.mark.parametrize("mode", ["off", "bound", "published"])
def test_no_two_cases_share_an_output(mode: ZenroomMode) -> None:
    seen: dict[bytes, str] = {}
    for case in (*CASES, *catalogue(mode)) if mode != "off" else CASES:
        for transaction in set(case.setup):
            assert seen.setdefault(transaction, case.name) == case.name


def rules_in_source() -> set[str]:
    """Identifiers of rules in the packages that judge: ``rule="..."``, and what is handed to three helpers."""
    found = set()
    for package in ("conditions", "contracts", "model", "rules"):
        for path in (SOURCE / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    found |= rules_of(node)
    return found


def rules_of(call: ast.Call) -> set[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("invalid", "_fault") and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        return {f"{'schema' if name == 'invalid' else 'condition'}.{call.args[1].value}"}
    if name == "refusal":
        return {item.value for item in call.args[2:3] if isinstance(item, ast.Constant)}
    values = [keyword.value for keyword in call.keywords if keyword.arg == "rule"]
    return {str(value.value) for value in values if isinstance(value, ast.Constant)}
