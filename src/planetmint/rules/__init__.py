# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rules of transactions: `decode_transaction` needs no ledger, `verify_transaction` holds it against one."""

from planetmint.rules.decode import decode_canonical, decode_transaction
from planetmint.rules.spending import SignatureCheck, check_signatures
from planetmint.rules.verify import created_outputs, verify_transaction

__all__ = [
    "SignatureCheck",
    "check_signatures",
    "created_outputs",
    "decode_canonical",
    "decode_transaction",
    "verify_transaction",
]
