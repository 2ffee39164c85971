# SPDX-License-Identifier: AGPL-3.0-or-later
"""An escrow: the seller gets his money when the buyer agrees, or when an arbiter has attested the delivery.

The arbiter signs one sentence and never touches the money; he needs no connection to the node.

Usage: python contract_escrow.py [URL of the node, by default http://localhost:9984]
"""

import sys

import base58
from contract_tools import (
    Refused,
    SigningKey,
    contract,
    contract_fulfillment,
    create,
    output,
    owner,
    public,
    script,
    send,
    sign,
    some_of,
    transfer,
)

node = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:9984"
buyer, seller, arbiter = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()

# 1. The contract names the arbiter's key itself, and the deal: a sentence about another parcel opens nothing.
escrow = f"""\
Scenario 'eddsa': escrow
Given I have a 'eddsa signature' named 'attest'
When I set 'arbiter' to '{public(arbiter)}' as 'base58'
and I write string 'parcel_4711_delivered' in 'sentence'
and I verify the 'sentence' has a eddsa signature in 'attest' by 'arbiter'
Then print the string 'released'
"""

# 2. The seller has to sign in any case; beside him the buyer, or the contract.
terms = some_of(2, owner(seller), some_of(1, owner(buyer), contract(arbiter)))


def pay() -> dict[str, object]:
    """The buyer locks an amount."""
    paid = sign(create(buyer, [output(terms, [seller], escrow)]), owner(buyer), [buyer])
    send(node, paid)
    print("locked", paid["id"])
    return paid


def collect(paid: dict[str, object], keys: list[SigningKey], sentence: str) -> dict[str, object]:
    """The seller moves it to himself, with what the arbiter has signed."""
    attest = base58.b58encode(arbiter.sign(sentence.encode()).signature).decode()
    made = transfer(paid, [output(owner(seller), [seller])])
    made["script"] = script(escrow, {"attest": attest}, ["released"])
    return sign(made, terms, keys, contract_fulfillment(escrow))


# 3. The arbiter's word about another parcel does not help. Nor does it help the buyer alone.
paid = pay()
try:
    send(node, collect(paid, [seller], "parcel_4712_delivered"))
except Refused as refusal:
    print("refused", refusal)
try:
    collect(paid, [buyer], "parcel_4711_delivered")
except ValueError as error:
    print("not even signed:", error)

# 4. With his word about this one, the seller is paid.
released = collect(paid, [seller], "parcel_4711_delivered")
send(node, released)
print("released", released["id"])

# 5. The next time the buyer agrees at once, and no contract runs.
paid = pay()
agreed = sign(
    transfer(paid, [output(owner(seller), [seller])]), terms, [seller, buyer], contract_fulfillment(escrow)
)
send(node, agreed)
print("agreed", agreed["id"])
