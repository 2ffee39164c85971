# SPDX-License-Identifier: AGPL-3.0-or-later
"""An invoice that every node has checked: a script in a transaction, with the published planetmint-driver.

The driver prepares and sends the transaction. It cannot sign one with a script: that is done here, in ten lines.

Usage: python contract_script.py [URL of the node, by default http://localhost:9984]
"""

import sys
from hashlib import sha3_256

import base58
import rapidjson
from planetmint_cryptoconditions import Ed25519Sha256
from planetmint_driver import Planetmint
from planetmint_driver.crypto import generate_keypair
from planetmint_driver.exceptions import BadRequest

INVOICE = """\
Given I have a 'number' named 'quantity'
and I have a 'number' named 'price'
and I have a 'number' named 'limit'
When I create the result of 'quantity' * 'price'
and I rename the 'result' to 'total'
and I verify number 'total' is less or equal than 'limit'
Then print the 'total'
"""

node = Planetmint(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:9984")
alice = generate_keypair()


def canonical(value: dict) -> bytes:
    """The text that ids and signatures are made over."""
    return rapidjson.dumps(value, skipkeys=False, ensure_ascii=False, sort_keys=True).encode()


def invoice(quantity: int, price: int, limit: int, total: int) -> dict:
    """A signed CREATE whose script says what `total` is."""
    made = node.transactions.prepare(operation="CREATE", signers=alice.public_key, assets=[{"data": None}])
    made["script"] = {
        "code": INVOICE,
        "state": "0" * 64,
        "inputs": {"quantity": quantity, "price": price, "limit": limit},
        "outputs": {"total": total},
    }
    made["inputs"][0]["fulfillment"] = made["id"] = None
    fulfillment = Ed25519Sha256(public_key=base58.b58decode(alice.public_key))
    fulfillment.sign(sha3_256(canonical(made)).digest(), base58.b58decode(alice.private_key))
    made["inputs"][0]["fulfillment"] = fulfillment.serialize_uri()
    made["id"] = sha3_256(canonical(made)).hexdigest()
    return made


# 1. Three at 40 each: the script says 120, and so does the transaction.
good = invoice(3, 40, limit=150, total=120)
node.transactions.send_commit(good)
print("committed", good["id"], node.transactions.retrieve(good["id"])["script"]["outputs"])

# 2. A wrong total, and one above the limit, are refused by every node.
for wrong in (invoice(3, 40, limit=150, total=119), invoice(4, 40, limit=150, total=160)):
    try:
        node.transactions.send_commit(wrong)
    except BadRequest as refusal:
        print("refused", refusal.info["message"])
