# SPDX-License-Identifier: AGPL-3.0-or-later
"""The chain: founding it, executing blocks on it, and the headers that prove them."""

from planetmint.chain.execute import BlockResult, Candidate, admit, execute_block, next_app_hash, within_block
from planetmint.chain.founding import (
    UnknownRules,
    check_parameters,
    found_chain,
    founding_from_json,
    founding_header,
    founding_to_json,
)
from planetmint.chain.header import header_hash, sign_header, verify_header
from planetmint.chain.merkle import merkle_root
from planetmint.elections import Outcome

__all__ = [
    "BlockResult",
    "Candidate",
    "Outcome",
    "UnknownRules",
    "admit",
    "check_parameters",
    "execute_block",
    "found_chain",
    "founding_from_json",
    "founding_header",
    "founding_to_json",
    "header_hash",
    "merkle_root",
    "next_app_hash",
    "sign_header",
    "verify_header",
    "within_block",
]
