# SPDX-License-Identifier: AGPL-3.0-or-later
"""One catalogue of invalid transactions, each with the class and the rule of its refusal.

Every entry to the node is tested with all of it: HTTP, bulk loading, proposals and blocks. It covers each error
class that an operation can raise, in every dialect in which the case exists. The chain has to be founded with
`VALIDATORS`, the set behind the name `VALIDATOR` (`planetmint.testing.build.seed` gives its secret), and without
contracts; what is refused where there are some stands in a catalogue for each mode, beside the first.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from planetmint.model.parameters import ZenroomMode
from planetmint.testing.invalid import conditions, contracts, elections, ledger, structure, texts
from planetmint.testing.invalid.case import VALIDATOR, VALIDATORS, Group, InvalidCase

_GROUPS = (
    texts.TEXTS,
    texts.IDS,
    structure.TOP,
    structure.INPUTS,
    structure.OUTPUTS,
    structure.ASSETS,
    structure.NAMES,
    structure.SCRIPTS,
    conditions.DETAILS,
    conditions.URIS,
    conditions.FULFILLMENTS,
    ledger.CREATE,
    ledger.CONSUME,
    ledger.TRANSFER,
    ledger.COMPOSE,
    ledger.DECOMPOSE,
    elections.VALIDATOR_ELECTION,
    elections.MIGRATION_ELECTION,
    ledger.VOTE,
)
_CATALOGUES: Mapping[ZenroomMode, Sequence[Group]] = {
    "off": _GROUPS,
    "bound": contracts.BOUND,
    "published": contracts.PUBLISHED,
}


@cache
def catalogue(mode: ZenroomMode = "off") -> tuple[InvalidCase, ...]:
    """All cases in a fixed order; names are unique, and no two cases share an output.

    Args:
        mode: The chain parameter `contracts.zenroom`; where it is not ``off``, `contracts.scripts` is ``on``, and
            both setups and verdicts need the contract engine.
    """
    return tuple(case for group in _CATALOGUES[mode] for entry in group.entries for case in entry.cases())


__all__ = ["VALIDATOR", "VALIDATORS", "InvalidCase", "catalogue"]
