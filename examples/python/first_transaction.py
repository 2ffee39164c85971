# SPDX-License-Identifier: AGPL-3.0-or-later
"""Register a thing, sell it, and read back who owns it, with the published planetmint-driver.

Usage: python first_transaction.py [URL of the node, by default http://localhost:9984]
"""

import hashlib
import sys
import time

import base58
from planetmint_driver import Planetmint
from planetmint_driver.crypto import generate_keypair
from planetmint_driver.exceptions import BadRequest


def content_id(text: str) -> str:
    """What goes on the chain is not the text but the id of the text: a CID, version 0."""
    return base58.b58encode(b"\x12\x20" + hashlib.sha256(text.encode()).digest()).decode()


node = Planetmint(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:9984")
alice, bob = generate_keypair(), generate_keypair()

# 1. Alice registers her bicycle: prepare a CREATE, sign it with her key, and wait until it is in a block.
bicycle = content_id(f"bicycle, frame number {time.time_ns()}")
prepared = node.transactions.prepare(
    operation="CREATE", signers=alice.public_key, assets=[{"data": bicycle}], metadata=content_id("like new")
)
created = node.transactions.fulfill(prepared, private_keys=alice.private_key)
node.transactions.send_commit(created)
print("created", created["id"])

# 2. She sells it to Bob: a TRANSFER spends the output that she owns and makes one that he owns.
output = created["outputs"][0]
spent = {
    "fulfillment": output["condition"]["details"],
    "fulfills": {"transaction_id": created["id"], "output_index": 0},
    "owners_before": output["public_keys"],
}
prepared = node.transactions.prepare(
    operation="TRANSFER", assets=[created["id"]], inputs=spent, recipients=bob.public_key
)
sold = node.transactions.fulfill(prepared, private_keys=alice.private_key)
node.transactions.send_commit(sold)
print("sold", sold["id"])

# 3. Anybody can look it up.
print("block", node.blocks.get(txid=sold["id"])["height"])
print("unspent outputs of Bob", node.outputs.get(bob.public_key, spent=False))
print("history", [one["operation"] for one in node.transactions.get(asset_ids=created["id"])])
print("found by content", node.assets.get(cid=bicycle))

# 4. Selling the same bicycle twice is refused.
prepared = node.transactions.prepare(
    operation="TRANSFER", assets=[created["id"]], inputs=spent, recipients=generate_keypair().public_key
)
try:
    node.transactions.send_commit(node.transactions.fulfill(prepared, private_keys=alice.private_key))
except BadRequest as refusal:
    print("refused", refusal.info["message"])
