# SPDX-License-Identifier: AGPL-3.0-or-later
"""Use cases: submit, follow, and the life of a block."""

from planetmint.app.application import Application, BulkOutcome, Cost, DryRun, Health, Mode
from planetmint.app.feed import CommittedFeed
from planetmint.app.ledger import Ledger
from planetmint.app.lifecycle import BlockLifecycle
from planetmint.app.signatures import SignatureCache, SignatureHelper, Verifier

__all__ = [
    "Application",
    "BlockLifecycle",
    "BulkOutcome",
    "CommittedFeed",
    "Cost",
    "DryRun",
    "Health",
    "Ledger",
    "Mode",
    "SignatureCache",
    "SignatureHelper",
    "Verifier",
]
