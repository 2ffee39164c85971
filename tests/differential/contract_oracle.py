# SPDX-License-Identifier: AGPL-3.0-or-later
"""Worker that makes and judges transactions with contracts by the published packages and the published engine.

Runs inside an environment that `environments` makes, with nothing of this project on its path:
`python contract_oracle.py contracts1|contracts2`. One JSON object per line in and out:

    {"do": "judge", "transaction": {...}}                        -> {"accepted": ..., "error": ...}
    {"do": "make", "seed": hex, "script": {...}, "lock": {...}}  -> {"transaction": {...}, "uri": ...}
    {"do": "run", "script": ..., "data": ..., "keys": ...}       -> {"output": ..., "logs": ...}

`lock` holds script, data and keys of a zenroom fulfillment (1.x alone). An error that the packages do not expect
is an answer too: `error` holds its class. A first line says which versions answer.
"""

import importlib.metadata
import json
import os
import sys
import types
from typing import Any

Json = dict[str, Any]
PACKAGES = ("planetmint-transactions", "planetmint-cryptoconditions", "zenroom")


def without_cid() -> None:
    """The package `cid` only looks at texts that clients send; it is not needed and does not install any more."""
    module = types.ModuleType("cid")
    module.is_cid = lambda text: isinstance(text, str)  # type: ignore[attr-defined]
    sys.modules["cid"] = module


class First:
    """planetmint-transactions 0.7.0 with planetmint-cryptoconditions 1.1.2: contracts as conditions."""

    def judge(self, wire: Json) -> bool:
        from transactions.common.transaction import Transaction

        return bool(Transaction.from_dict(wire, False).inputs_valid())

    def make(self, seed: bytes, script: Json, lock: Json) -> Json:
        from planetmint_cryptoconditions import Ed25519Sha256, ZenroomSha256
        from transactions.common.input import Input
        from transactions.common.output import Output
        from transactions.common.transaction import Transaction

        owner = public_key(seed)
        fulfillment = ZenroomSha256(**lock)
        output = Output(Ed25519Sha256(public_key=raw(owner)), [owner], 1)
        made = Transaction(
            "CREATE",
            {"data": None},
            [Input(fulfillment, [owner])],
            [output],
            version="2.0",
            script=script,
        )
        made._hash()
        return {"transaction": made.to_dict(), "uri": fulfillment.condition_uri}


class Second:
    """planetmint-transactions 0.8.4 with planetmint-cryptoconditions 1.2.2: scripts of transactions."""

    def judge(self, wire: Json) -> bool:
        from transactions.common.transaction import Transaction

        return bool(Transaction.from_dict(wire, False).inputs_valid())

    def make(self, seed: bytes, script: Json, lock: Json) -> Json:
        import base58
        from transactions.common.script import Script
        from transactions.types.assets.create import Create

        class Whole(Script):
            """With the members that the package's schema asks for and its class forgets."""

            def to_dict(self) -> Json:
                return script

        owner = public_key(seed)
        carried = Whole(script["code"], script["inputs"], script["outputs"])
        made = Create.generate([owner], [([owner], 1)], assets=[{"data": None}], script=carried)
        return {"transaction": made.sign([base58.b58encode(seed).decode()]).to_dict(), "uri": None}


def public_key(seed: bytes) -> str:
    import base58
    from nacl.signing import SigningKey

    return base58.b58encode(bytes(SigningKey(seed).verify_key)).decode()


def raw(key: str) -> bytes:
    import base58

    return base58.b58decode(key)


def run(request: Json) -> Json:
    from zenroom import zencode_exec

    keys, data = (None if request[name] is None else json.dumps(request[name]) for name in ("keys", "data"))
    result = zencode_exec(request["script"], keys=keys, data=data)
    return {"output": result.output, "logs": result.logs}


def answer(packages: First | Second, request: Json) -> Json:
    try:
        if request["do"] == "run":
            return run(request)
        if request["do"] == "make":
            return packages.make(bytes.fromhex(request["seed"]), request["script"], request["lock"])
        return {"accepted": packages.judge(request["transaction"]), "error": None}
    except Exception as error:  # noqa: BLE001 - whatever the packages raise is their answer
        return {"accepted": False, "error": type(error).__name__}


def main() -> None:
    without_cid()
    packages = {"contracts1": First, "contracts2": Second}[sys.argv[1]]()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # The packages print what they do not expect, and the engine a banner for each run.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    print(json.dumps({name: importlib.metadata.version(name) for name in PACKAGES}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(packages, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
