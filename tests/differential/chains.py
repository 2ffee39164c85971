# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random valid chains of transactions in each dialect, signed with the code of `wire`.

A `Chain` remembers which outputs can be spent and by whom, and drafts the next transaction: a body without
signatures, together with what is needed to sign it after it was changed. Everything comes from one seeded
random generator, so that equal seeds give equal chains.
"""

import base64
import copy
import random
import struct
from dataclasses import dataclass, field

from tests.differential.wire import (
    Condition,
    Json,
    Key,
    PublicKey,
    Threshold,
    Writer,
    base64url,
    canonical,
    compute_id,
    n_of_n,
    signing_message,
)

KEYS = tuple(Key(f"differential/{number}") for number in range(12))

STRANGER = Key("differential/stranger")
"""Owns nothing on any chain."""

VALIDATORS = tuple(
    (Key(f"differential/validator/{number}"), power) for number, power in enumerate((10, 20, 30, 41))
)
"""The validators of every chain, with their power."""

ELECTIONS = ("VALIDATOR_ELECTION", "CHAIN_MIGRATION_ELECTION")

MAX_AMOUNT = 9_000_000_000_000_000_000

STRINGS = (
    "",
    "a",
    "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
    "naïve café",
    "日本語のテキスト",
    "\U0001f600\U00010000",
    "\uffff\ue000",
    "e\u0301 against \u00e9",
    'tab\tnew\nline\rquote"back\\slash/',
    "\x01\x0b\x1f\x7f\b\f",
    "\u2028\u2029",
    "</script>",
    "a$b",
    "-0",
)

INTEGERS = (
    0, 1, -1, 7, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**63) - 1,
    10**30, -(10**100), 10**307 + 1,
)  # fmt: skip

FLOATS = (
    0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e16, 1e17, 1e22, 1e-4, 1e-5, 1e-7, 1.5e300, 5e-324, 1.7976931348623157e308,
    2.2250738585072014e-308, 123456789.123456789, 0.30000000000000004, 9007199254740993.0,
)  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """`name` is A, B or C; `generation` names the published packages that speak it."""

    name: str
    generation: str
    version: str

    @property
    def asset_member(self) -> str:
        return "assets" if self.version == "3.0" else "asset"


A = Dialect("A", "bigchaindb", "2.0")
B = Dialect("B", "planetmint1", "2.0")
C = Dialect("C", "planetmint2", "3.0")
DIALECTS = (A, B, C)


@dataclass(frozen=True)
class Spendable:
    """An output of the chain; `item` is the data that a DECOMPOSE assigns to it."""

    transaction_id: str
    index: int
    amount: int
    condition: Condition
    asset_id: str
    operation: str
    item: str | None = None

    @property
    def reference(self) -> dict[str, Json]:
        return {"transaction_id": self.transaction_id, "output_index": self.index}


@dataclass
class Draft:
    """A transaction before signing.

    Attributes:
        body: All members; each fulfillment and the id are None.
        signing: Per input the condition to fulfill and the keys that sign (None: as many as needed).
        outputs: The condition of each output.
        spends: The outputs it consumes, in input order.
    """

    body: dict[str, Json]
    signing: list[tuple[Condition, frozenset[str] | None]]
    outputs: list[Condition]
    spends: list[Spendable]

    def sign(self, body: Json, write: Writer = canonical) -> Json:
        """A signed copy of `body`, which may be a changed copy of `self.body`; without an id yet.

        Inputs that are too damaged to sign are left as they are.
        """
        signed = copy.deepcopy(body)
        try:
            messages = [signing_message(body, index, write) for index in range(len(body["inputs"]))]
        except (KeyError, TypeError, AttributeError, IndexError):
            return signed
        for index, message in enumerate(messages):
            if isinstance(signed["inputs"][index], dict):
                condition, signers = self.signing[min(index, len(self.signing) - 1)]
                signed["inputs"][index]["fulfillment"] = base64url(condition.fulfill(message, signers))
        return signed

    def finish(self, body: Json | None = None) -> Json:
        """A signed copy with its id."""
        return identified(self.sign(self.body if body is None else body))


def identified(body: Json, write: Writer = canonical) -> Json:
    """A copy with the right id."""
    return {**body, "id": compute_id(body, write)} if isinstance(body, dict) else body


@dataclass
class Chain:
    """Committed transactions of one dialect, in order, and what can be spent."""

    rng: random.Random
    dialect: Dialect
    transactions: list[Json] = field(default_factory=list)
    unspent: list[Spendable] = field(default_factory=list)
    spent: list[Spendable] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)

    def commit(self, draft: Draft) -> None:
        """Sign the draft and put it on the chain."""
        transaction = draft.finish()
        self.transactions.append(transaction)
        self.drafts.append(draft)
        for item in draft.spends:
            self.unspent.remove(item)
            self.spent.append(item)
        self.unspent += _spendables(transaction, draft)

    def draft(self, operation: str) -> Draft | None:
        """A random valid transaction; None where the chain holds nothing that it could spend."""
        makers = {
            "CREATE": self.draft_create,
            "TRANSFER": self.draft_transfer,
            "COMPOSE": self.draft_compose,
            "DECOMPOSE": self.draft_decompose,
            "CREATE_FROM": self.draft_create_from_decompose,
            "VALIDATOR_ELECTION": self.draft_validator_election,
            "CHAIN_MIGRATION_ELECTION": self.draft_migration_election,
            "VOTE": self.draft_vote,
        }
        return makers[operation]()

    def grow(self, length: int) -> None:
        """Commit transactions until there are `length`."""
        while len(self.transactions) < length:
            draft = self.draft(self._operation())
            if draft is not None:
                self.commit(draft)

    def _operation(self) -> str:
        if len(self.transactions) < 2:
            return "CREATE"
        choices = ["CREATE"] * 2 + ["TRANSFER"] * 5 + [*ELECTIONS, "VOTE"]
        if self.dialect is C:
            choices += ["COMPOSE", "DECOMPOSE", "CREATE_FROM"]
        return self.rng.choice(choices)

    # Parts

    def condition(self) -> Condition:
        """An output condition: mostly one key, sometimes several or nested."""
        rng = self.rng
        kind = rng.random()
        keys = rng.sample(KEYS, 5)
        if kind < 0.55:
            return keys[0]
        if kind < 0.7:
            return n_of_n(keys[: rng.randint(2, 4)])
        if kind < 0.82:
            count = rng.randint(1, 5)
            return Threshold(rng.randint(1, count), tuple(keys[:count]))
        if kind < 0.88:
            return Threshold(2, (keys[0], keys[0]))
        return self._nested(rng.randint(2, 4))

    def _nested(self, depth: int) -> Condition:
        """A tree with `depth` levels of thresholds; small, as the published code derives it again and again."""
        rng = self.rng
        if depth == 0:
            return rng.choice(KEYS)
        others = tuple(self._nested(rng.randint(0, min(1, depth - 1))) for _ in range(rng.randint(0, 2)))
        parts = (self._nested(depth - 1), *others)
        return Threshold(rng.randint(1, len(parts)), parts)

    def output(self, amount: int, condition: Condition) -> dict[str, Json]:
        keys = list(dict.fromkeys(key.text for key in condition.keys))
        return {
            "amount": str(amount),
            "condition": {"details": condition.details, "uri": condition.uri},
            "public_keys": keys,
        }

    def metadata(self) -> Json:
        return self._free(may_be_empty=False)

    def data(self) -> Json:
        return self._free(may_be_empty=True)

    def _free(self, *, may_be_empty: bool) -> Json:
        if self.rng.random() < 0.25:
            return None
        if self.dialect is not A:
            return self.text()
        members = {self.key(): self.value(3) for _ in range(self.rng.randint(1, 4))}
        return {} if may_be_empty and self.rng.random() < 0.05 else members

    def text(self) -> str:
        rng = self.rng
        if rng.random() < 0.6:
            return rng.choice(STRINGS)
        points = [rng.choice((rng.randrange(1, 128), rng.randrange(128, 0xD800), rng.randrange(0xE000, 0x110000)))
                  for _ in range(rng.randint(1, 12))]  # fmt: skip
        return "".join(map(chr, points))

    def key(self) -> str:
        """A member name that every dialect accepts; `language` has rules of its own."""
        name = self.text().replace(".", "_").replace("\x00", "_").lstrip("$")
        return "lang" if name == "language" else name

    def number(self) -> int | float:
        rng = self.rng
        kind = rng.random()
        if kind < 0.3:
            return rng.choice(INTEGERS)
        if kind < 0.5:
            return rng.choice(FLOATS)
        if kind < 0.7:
            return rng.randint(-(2**70), 2**70) >> rng.randint(0, 70)
        drawn: float = struct.unpack("<d", rng.randbytes(8))[0]
        return drawn if drawn == drawn and abs(drawn) != float("inf") else 0.5

    def value(self, depth: int) -> Json:
        """Any JSON value, with arrays and objects up to `depth` levels."""
        rng = self.rng
        kind = rng.randrange(8 if depth else 5)
        if kind < 2:
            return self.number()
        if kind < 4:
            return self.text()
        if kind == 4:
            return rng.choice((None, True, False))
        if kind == 5:
            return [self.value(depth - 1) for _ in range(rng.randint(0, 3))]
        return {self.key(): self.value(depth - 1) for _ in range(rng.randint(0, 3))}

    # Operations

    def body(self, operation: str, asset: Json, inputs: list[Json], outputs: list[Json]) -> dict[str, Json]:
        return {
            "id": None,
            "version": self.dialect.version,
            "operation": operation,
            self.dialect.asset_member: asset,
            "metadata": self.metadata(),
            "inputs": inputs,
            "outputs": outputs,
        }

    def draft_create(self) -> Draft:
        rng = self.rng
        owners = rng.sample(KEYS, rng.choice((1, 1, 1, 1, 2, 3)))
        item = {"data": self.data()}
        asset = [item] if self.dialect is C else item
        conditions = [self.condition() for _ in range(rng.choice((1, 1, 2, 3)))]
        amounts = [rng.choice((1, 1, rng.randint(1, 1000), rng.randint(1, MAX_AMOUNT))) for _ in conditions]
        outputs = [self.output(amount, condition) for amount, condition in zip(amounts, conditions, strict=True)]
        inputs = [_input([key.text for key in owners], None)]
        return Draft(self.body("CREATE", asset, inputs, outputs), [(n_of_n(owners), None)], conditions, [])

    def _spendable(self, count: int, *, one_asset: bool) -> list[Spendable]:
        choices = [item for item in self.unspent if item.operation != "DECOMPOSE"]
        if not choices:
            return []
        if one_asset:
            asset = self.rng.choice(choices).asset_id
            choices = [item for item in choices if item.asset_id == asset]
        return self.rng.sample(choices, min(count, len(choices)))

    def _inputs(self, spends: list[Spendable]) -> tuple[list[Json], list[tuple[Condition, frozenset[str] | None]]]:
        inputs, signing = [], []
        for item in spends:
            keys = list(dict.fromkeys(key.text for key in item.condition.keys))
            inputs.append(_input(keys, item.reference))
            signing.append((item.condition, self._signers(item.condition)))
        return inputs, signing

    def _signers(self, condition: Condition) -> frozenset[str] | None:
        """Now and then exactly the last keys that suffice, not the first ones."""
        if isinstance(condition, Key) or self.rng.random() < 0.5:
            return None
        keys = [key.text for key in condition.keys]
        for count in range(1, len(keys) + 1):
            signers = frozenset(keys[-count:])
            if condition.can_fulfill(signers):
                return signers
        return None

    def draft_transfer(self) -> Draft | None:
        spends = self._spendable(self.rng.choice((1, 1, 1, 2, 3)), one_asset=True)
        if not spends:
            return None
        inputs, signing = self._inputs(spends)
        amounts = self._split(sum(item.amount for item in spends))
        conditions = [self.condition() for _ in amounts]
        outputs = [self.output(amount, condition) for amount, condition in zip(amounts, conditions, strict=True)]
        named = {"id": spends[0].asset_id}
        asset = [named] if self.dialect is C else named
        return Draft(self.body("TRANSFER", asset, inputs, outputs), signing, conditions, spends)

    def _split(self, total: int) -> list[int]:
        """Amounts that add up to `total`, each within bounds."""
        parts: list[int] = []
        while total > MAX_AMOUNT or (total > 1 and len(parts) < 3 and self.rng.random() < 0.4):
            parts.append(self.rng.randint(1, min(total - 1, MAX_AMOUNT)))
            total -= parts[-1]
        return [*parts, total]

    def draft_compose(self) -> Draft | None:
        spends = self._spendable(self.rng.randint(1, 3), one_asset=False)
        if not spends:
            return None
        inputs, signing = self._inputs(spends)
        consumed = dict.fromkeys(item.asset_id for item in spends)
        asset = [{"data": self.text()}, *({"id": asset_id} for asset_id in consumed)]
        condition = self.condition()
        outputs = [self.output(self.rng.randint(1, 100), condition)]
        return Draft(self.body("COMPOSE", asset, inputs, outputs), signing, [condition], spends)

    def draft_decompose(self) -> Draft | None:
        spends = [item for item in self._spendable(1, one_asset=True) if isinstance(item.condition, Key)]
        if not spends:
            return None
        inputs, signing = self._inputs(spends)
        items = [{"data": self.text()} for _ in range(self.rng.randint(1, 3))]
        conditions = [spends[0].condition for _ in items]
        outputs = [self.output(self.rng.randint(1, 100), condition) for condition in conditions]
        asset = [*items, {"id": spends[0].asset_id}]
        return Draft(self.body("DECOMPOSE", asset, inputs, outputs), signing, conditions, spends)

    def draft_create_from_decompose(self) -> Draft | None:
        choices = [item for item in self.unspent if item.operation == "DECOMPOSE" and item.item is not None]
        if not choices:
            return None
        spends = [self.rng.choice(choices)]
        inputs, signing = self._inputs(spends)
        amounts = self._split(spends[0].amount)
        conditions = [self.condition() for _ in amounts]
        outputs = [self.output(amount, condition) for amount, condition in zip(amounts, conditions, strict=True)]
        asset = [{"data": spends[0].item}]
        return Draft(self.body("CREATE", asset, inputs, outputs), signing, conditions, spends)

    def draft_validator_election(self) -> Draft:
        rng = self.rng
        removed = rng.random() < 0.2
        candidate = rng.choice(VALIDATORS)[0] if removed or rng.random() < 0.3 else rng.choice(KEYS)
        encode, kind = rng.choice(KEY_ENCODERS)
        data = {
            "node_id": rng.choice(("0" * 40, "", "not a node id")),
            "power": 0 if removed else rng.choice((1, 5, 33)),
            "public_key": {"type": kind, "value": encode(candidate.raw).decode()},
        }
        return self._election("VALIDATOR_ELECTION", data)

    def draft_migration_election(self) -> Draft:
        return self._election("CHAIN_MIGRATION_ELECTION", {})

    def _election(self, operation: str, data: dict[str, Json]) -> Draft:
        rng = self.rng
        if rng.random() < 0.9:
            data["seed"] = f"{rng.getrandbits(64)}"
        item = {"data": data}
        initiator = rng.choice(VALIDATORS)[0]
        voters = rng.sample(VALIDATORS, len(VALIDATORS))
        outputs = [self.output(power, key) for key, power in voters]
        inputs = [_input([initiator.text], None)]
        body = self.body(operation, [item] if self.dialect is C else item, inputs, outputs)
        return Draft(body, [(initiator, None)], [key for key, _ in voters], [])

    def draft_vote(self) -> Draft | None:
        """Shares of an election to its address, to somebody, or in parts."""
        opened = {item["id"] for item in self.transactions if item["operation"] in ELECTIONS}
        choices = [item for item in self.unspent if item.asset_id in opened and item.operation != "DECOMPOSE"]
        if not choices:
            return None
        asset_id = self.rng.choice(choices).asset_id
        choices = [item for item in choices if item.asset_id == asset_id]
        spends = self.rng.sample(choices, min(self.rng.choice((1, 1, 2)), len(choices)))
        inputs, signing = self._inputs(spends)
        amounts = self._split(sum(item.amount for item in spends))
        address = PublicKey(bytes.fromhex(asset_id))
        conditions = [address if self.rng.random() < 0.7 else self.rng.choice(KEYS) for _ in amounts]
        outputs = [self.output(amount, condition) for amount, condition in zip(amounts, conditions, strict=True)]
        named = {"id": asset_id}
        asset = [named] if self.dialect is C else named
        return Draft(self.body("VOTE", asset, inputs, outputs), signing, list(conditions), spends)


KEY_ENCODERS = (
    (base64.b16encode, "ed25519-base16"),
    (base64.b32encode, "ed25519-base32"),
    (base64.b64encode, "ed25519-base64"),
)


def _input(owners: list[str], reference: dict[str, Json] | None) -> dict[str, Json]:
    return {"owners_before": owners, "fulfills": reference, "fulfillment": None}


def _spendables(transaction: Json, draft: Draft) -> list[Spendable]:
    own = transaction["operation"] in ("CREATE", "COMPOSE", *ELECTIONS)
    asset_id = transaction["id"] if own else draft.spends[0].asset_id
    data: list[str | None] = [None] * len(draft.outputs)
    if transaction["operation"] == "DECOMPOSE":
        data = [item.get("data") for item in transaction["assets"][: len(draft.outputs)]]
    return [
        Spendable(
            transaction["id"], index, int(output["amount"]), condition, asset_id, transaction["operation"], item
        )
        for index, (output, condition, item) in enumerate(
            zip(transaction["outputs"], draft.outputs, data, strict=True)
        )
        if not isinstance(condition, PublicKey)
    ]
