# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `fulfill` of a published Python driver does with a member `script`; prints one word.

``kept`` as it was, ``changed``, ``dropped``, or the name of the error that it raises.

Usage: script_through_fulfill.py (bigchaindb|planetmint)
"""

import importlib
import sys

name = sys.argv[1]
crypto = importlib.import_module(f"{name}_driver.crypto")
driver = getattr(importlib.import_module(f"{name}_driver"), {"bigchaindb": "BigchainDB"}.get(name, "Planetmint"))
transactions = driver("http://localhost:9").transactions
alice = crypto.generate_keypair()

try:
    prepared = transactions.prepare(operation="CREATE", signers=alice.public_key, assets=[{"data": None}])
    script = {"code": "Given nothing\nThen print the string 'ok'\n", "inputs": {}, "outputs": ["ok"]}
except TypeError:
    prepared = transactions.prepare(operation="CREATE", signers=alice.public_key, asset={"data": None})
    script = {"code": {"type": "zenroom", "raw": "", "parameters": []}, "input": {}, "output": ["ok"]}
prepared["script"] = script = {**script, "state": "0" * 64}

try:
    fulfilled = transactions.fulfill(prepared, private_keys=alice.private_key)
except Exception as error:  # noqa: BLE001 (which one is what is asked)
    print(type(error).__name__)
else:
    print("dropped" if "script" not in fulfilled else "kept" if fulfilled["script"] == script else "changed")
