# SPDX-License-Identifier: AGPL-3.0-or-later
"""A parcel that Bob can collect once he knows the word: an output locked by his key and by a contract.

Usage: python contract_hash_lock.py [URL of the node, by default http://localhost:9984]
"""

import sys
from hashlib import sha256

from contract_tools import (
    Refused,
    SigningKey,
    contract,
    contract_fulfillment,
    create,
    get,
    output,
    owner,
    script,
    send,
    sign,
    some_of,
    transfer,
)

node = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:9984"
alice, bob, eve = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
word = "open sesame"

# 1. The contract holds the hash of the word, so that everybody can check it and nobody can read it.
lock = f"""\
Given I have a 'string' named 'word'
When I create the hash of 'word'
and I set 'lock' to '{sha256(word.encode()).hexdigest()}' as 'hex'
and I verify 'hash' is equal to 'lock'
Then print the string 'opened'
"""

# 2. Alice makes an output that asks for both: Bob's signature, and a word that the contract accepts.
guarded = some_of(2, owner(bob), contract(bob))
parcel = sign(create(alice, [output(guarded, [bob], lock)]), owner(alice), [alice])
send(node, parcel)
print("created", parcel["id"])


def collect(key: SigningKey, said: str) -> dict[str, object]:
    """Move the parcel to `key`, whose owner says a word."""
    made = transfer(parcel, [output(owner(key), [key])])
    made["script"] = script(lock, {"word": said}, ["opened"])
    return sign(
        made, guarded if key is bob else some_of(2, owner(key), contract(key)), [key], contract_fulfillment(lock)
    )


# 3. Eve has heard the word, but she is not Bob. Bob tries a wrong one.
for key, said in ((eve, word), (bob, "sesame street")):
    try:
        send(node, collect(key, said))
    except Refused as refusal:
        print("refused", refusal.answer["class"], refusal.answer["rule"])

# 4. Bob says the right word. A dry run tells what would become of it, and leaves nothing behind.
collected = collect(bob, word)
tried = send(node, collected, "dry_run=true")
print("dry run", tried["valid"], tried["contracts"][0]["output"])
send(node, collected)
print("collected", collected["id"])

# 5. Script and word stay in the transaction for everybody to check.
print("kept", get(node, f"transactions/{collected['id']}") == collected)
