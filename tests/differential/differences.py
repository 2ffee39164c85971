# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every deliberate difference between the node and the published packages.

Each entry says in words what differs and why, names the section that decides it, and recognises its cases by
looking at the transaction itself, not at what the generator meant to do. A disagreement that no entry
recognises fails the differential test. `docs/differences.md` shows this list to people; a test keeps the two
alike.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from tests.differential.chains import ELECTIONS, KEY_ENCODERS, A, B, C, Dialect
from tests.differential.wire import Json, condition_of, from_base64url, public_key, signers_of

OPERATIONS = {
    "2.0": ("CREATE", "TRANSFER", "VALIDATOR_ELECTION", "CHAIN_MIGRATION_ELECTION", "VOTE"),
    "3.0": (
        "CREATE",
        "TRANSFER",
        "COMPOSE",
        "DECOMPOSE",
        "VALIDATOR_ELECTION",
        "CHAIN_MIGRATION_ELECTION",
        "VOTE",
    ),
}

HEX64 = re.compile(r"[0-9a-f]{64}")

CRASHES = {
    "InvalidHash": ("Error", "TypeError", "ValueError"),
    "InputDoesNotExist": ("IndexError", "SchemaValidationError"),
    "InvalidSignature": (
        "Error",
        "IndexError",
        "KeyError",
        "PyAsn1Error",
        "RecursionError",
        "SubstrateUnderrunError",
        "UnicodeEncodeError",
        "ValueConstraintError",
        "ValueError",
    ),
}
"""What the published code fails with (HTTP 500), by what the node answers there."""


@dataclass(frozen=True)
class Answer:
    """One side's answer to a body.

    Attributes:
        id: The id that this side computes over the body, None where it cannot.
        accepted: The verdict.
        error_class: Name of the error where it is refused.
        message: Its text.
        caught: Whether the published server expects the error (400) or fails with it (500).
        rule: The node's name for the broken rule.
    """

    id: str | None
    accepted: bool
    error_class: str | None = None
    message: str | None = None
    caught: bool = True
    rule: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Both answers to one body, and what the entries of the list want to know about it."""

    dialect: Dialect
    text: str
    known: tuple[Json, ...]
    ours: Answer
    theirs: Answer

    @cached_property
    def body(self) -> Json:
        """The parsed body; None where Python cannot parse it."""
        try:
            return json.loads(self.text.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            return None

    @property
    def crashed(self) -> bool:
        """Whether the published server answers 500."""
        return not self.theirs.accepted and not self.theirs.caught

    def member(self, name: str) -> Json:
        return self.body.get(name) if isinstance(self.body, dict) else None

    def objects(self, name: str) -> list[dict[str, Json]]:
        """The objects of the array `name`."""
        value = self.member(name)
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

    @property
    def operation(self) -> Json:
        return self.member("operation")

    @property
    def references(self) -> list[dict[str, Json]]:
        found = [item.get("fulfills") for item in self.objects("inputs")]
        return [item for item in found if isinstance(item, dict)]

    @property
    def fulfillments(self) -> list[Json]:
        return [item.get("fulfillment") for item in self.objects("inputs")]

    @property
    def conditions(self) -> list[dict[str, Json]]:
        found = [item.get("condition") for item in self.objects("outputs")]
        return [item for item in found if isinstance(item, dict)]

    @property
    def key_texts(self) -> list[Json]:
        """Everything that stands where a public key belongs."""
        lists = [item.get("owners_before") for item in self.objects("inputs")]
        lists += [item.get("public_keys") for item in self.objects("outputs")]
        found = [key for keys in lists if isinstance(keys, list) for key in keys]
        return [*found, *(key for item in self.conditions for key in _leaf_keys(item.get("details")))]

    @property
    def spends_decomposed(self) -> bool:
        """Whether an input refers to an output of a DECOMPOSE."""
        split = {item["id"] for item in self.known if item["operation"] == "DECOMPOSE"}
        return any(item.get("transaction_id") in split for item in self.references)


@dataclass(frozen=True)
class Difference:
    """One deliberate difference.

    Attributes:
        name: Short and stable.
        published: What the published packages do.
        node: What the node does.
        reason: Why.
        source: Section of the specification that decides it.
        applies: Whether it explains a comparison whose answers differ.
    """

    name: str
    published: str
    node: str
    reason: str
    source: str
    applies: Callable[[Comparison], bool]


# What the entries look at


def _leaf_keys(details: Json) -> Iterator[Json]:
    if not isinstance(details, dict):
        return
    if "public_key" in details:
        yield details["public_key"]
    parts = details.get("subconditions")
    for item in parts if isinstance(parts, list) else ():
        yield from _leaf_keys(item)


def _types(details: Json) -> Iterator[Json]:
    if not isinstance(details, dict):
        return
    yield details.get("type")
    parts = details.get("subconditions")
    for item in parts if isinstance(parts, list) else ():
        yield from _types(item)


def _thresholds(details: Json) -> Iterator[tuple[Json, Json]]:
    """Threshold and subconditions of every threshold node."""
    if not isinstance(details, dict):
        return
    if details.get("type") == "threshold-sha-256":
        yield details.get("threshold"), details.get("subconditions")
    parts = details.get("subconditions")
    for item in parts if isinstance(parts, list) else ():
        yield from _thresholds(item)


def _without_strings(text: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text, flags=re.DOTALL)


def _depth(text: str) -> int:
    level = deepest = 0
    for char in _without_strings(text):
        level += (char in "[{") - (char in "]}")
        deepest = max(deepest, level)
    return deepest


def _longest_number(text: str) -> int:
    literals = re.findall(r"-?[0-9][0-9.eE+-]*", _without_strings(text))
    return max((sum(char.isdigit() for char in literal) for literal in literals), default=0)


def _is_hash(value: Json) -> bool:
    return isinstance(value, str) and HEX64.fullmatch(value) is not None


def _has_hash_inside(value: Json) -> bool:
    """64 hex digits, and something around them."""
    return isinstance(value, str) and not _is_hash(value) and HEX64.search(value) is not None


def _has_nul(comparison: Comparison) -> bool:
    """A NUL character in a string outside of the free values."""
    body = comparison.body if isinstance(comparison.body, dict) else {}
    free = ("asset", "assets", "metadata", "script")
    return any("\x00" in text for name, value in body.items() if name not in free for text in _strings(value))


def _strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        yield from _strings(item)


def _has_repeated_reference(comparison: Comparison) -> bool:
    texts = [json.dumps(item, sort_keys=True) for item in comparison.references]
    return len(texts) != len(set(texts))


def _has_unreadable_key(comparison: Comparison) -> bool:
    return any(public_key(text) is None for text in comparison.key_texts)


def _has_foreign_listed_key(comparison: Comparison) -> bool:
    for output in comparison.objects("outputs"):
        condition, keys = output.get("condition"), output.get("public_keys")
        if isinstance(condition, dict) and isinstance(keys, list):
            leaves = list(_leaf_keys(condition.get("details")))
            if any(key not in leaves for key in keys):
                return True
    return False


def _has_other_uri(comparison: Comparison) -> bool:
    for item in comparison.conditions:
        condition = condition_of(item.get("details"))
        if condition is not None and condition.uri != item.get("uri"):
            return True
    return False


def _has_underivable_condition(comparison: Comparison) -> bool:
    nodes = [node for item in comparison.conditions for node in _thresholds(item.get("details"))]
    return any(
        isinstance(parts, list) and isinstance(needed, int) and needed > len(parts) for needed, parts in nodes
    )


def _has_zenroom(comparison: Comparison) -> bool:
    if any("zenroom-sha-256" in _types(item.get("details")) for item in comparison.conditions):
        return True
    return any(isinstance(text, str) and _starts_with(text, 0xA5) for text in comparison.fulfillments)


def _starts_with(text: str, tag: int) -> bool:
    try:
        return from_base64url(text)[:1] == bytes([tag])
    except ValueError:
        return False


def _has_odd_fulfillment(comparison: Comparison) -> bool:
    """A text that is not the canonical form of a fulfillment of keys and thresholds."""
    return any(isinstance(text, str) and signers_of(text) is None for text in comparison.fulfillments)


def _signed_by_others(comparison: Comparison) -> bool:
    """A signature by keys that are not exactly `owners_before`."""
    for item in comparison.objects("inputs"):
        owners, signed = item.get("owners_before"), signers_of(item.get("fulfillment"))
        if isinstance(owners, list) and signed is not None and signed != {str(owner) for owner in owners}:
            return True
    return False


def _spends_migration(comparison: Comparison) -> bool:
    opened = {item["id"] for item in comparison.known if item["operation"] == "CHAIN_MIGRATION_ELECTION"}
    return any(item.get("transaction_id") in opened for item in comparison.references)


def _has_odd_election(comparison: Comparison) -> bool:
    """What is asked for is not in the form of transactions 3, or not by one input."""
    assets = comparison.member("assets")
    asset = comparison.member("asset") if comparison.dialect is not C else assets[0] if assets else None
    data = asset.get("data") if isinstance(asset, dict) else None
    if len(comparison.objects("inputs")) != 1:
        return True
    needed = {"node_id", "power", "public_key"} if comparison.operation == "VALIDATOR_ELECTION" else set()
    if not isinstance(data, dict) or not needed <= set(data) <= needed | {"seed"}:
        return True
    texts = [data.get("seed", "")]
    if needed:
        power, key = data["power"], data["public_key"]
        if type(power) is not int or not 0 <= power < 2**60 or not isinstance(key, dict):
            return True
        texts += [data["node_id"], key.get("type"), key.get("value")]
        if set(key) != {"type", "value"} or key["type"] not in [kind for _, kind in KEY_ENCODERS]:
            return True
    return not all(isinstance(text, str) for text in texts)


def _wrong_at_the_top(comparison: Comparison) -> bool:
    """A missing or unknown member, an unknown version or operation."""
    body = comparison.body
    if not isinstance(body, dict):
        return False
    version = body.get("version")
    if (
        not isinstance(version, str)
        or version not in OPERATIONS
        or body.get("operation") not in OPERATIONS[version]
    ):
        return True
    asset = "asset" if version == "2.0" else "assets"
    required = {"version", "operation", "inputs", "outputs", "metadata", asset}
    return not required <= set(body) or not set(body) <= required | {"id", "script"}


def _asset_data(comparison: Comparison) -> Json:
    asset = comparison.member("asset")
    return asset.get("data") if isinstance(asset, dict) else None


def _is_of_other_2_0_dialect(comparison: Comparison) -> bool:
    """What the other dialect of version 2.0 knows and this one does not."""
    values = (_asset_data(comparison), comparison.member("metadata"))
    if comparison.dialect is A:
        return any(isinstance(value, str) for value in values) or comparison.member("script") is not None
    return any(isinstance(value, dict) and value for value in values) or _asset_data(comparison) == {}


def _ours(comparison: Comparison, *rules: str) -> bool:
    return not comparison.ours.accepted and comparison.ours.rule in rules


def _ours_class(comparison: Comparison, *names: str) -> bool:
    return not comparison.ours.accepted and comparison.ours.error_class in names


def _both_refuse(comparison: Comparison) -> bool:
    return not comparison.ours.accepted and not comparison.theirs.accepted


def _crash(comparison: Comparison, error_class: str) -> bool:
    """The node answers `error_class` where the published code fails in a known way."""
    failures = CRASHES[error_class]
    return (
        _ours_class(comparison, error_class) and comparison.crashed and comparison.theirs.error_class in failures
    )


def _theirs(comparison: Comparison, *names: str) -> bool:
    return not comparison.theirs.accepted and comparison.theirs.error_class in names


# The list

DIFFERENCES: tuple[Difference, ...] = (
    # The text
    Difference(
        "text-not-json",
        "the web framework answers 400 before the transaction is looked at",
        "SchemaValidationError",
        "one error shape for everything that a client can send",
        "validation 3.2",
        lambda c: _ours(c, "json.syntax", "json.surrogate") and _theirs(c, "JSONDecodeError"),
    ),
    Difference(
        "text-byte-order-mark",
        "a byte order mark before the JSON text is skipped",
        "SchemaValidationError: a JSON text does not begin with one",
        "one parser with one meaning, also in consensus",
        "design D3",
        lambda c: _ours(c, "json.syntax") and c.text.startswith("\ufeff"),
    ),
    Difference(
        "text-depth",
        "accepted up to about 490 levels, above that the recursion fails (500)",
        "SchemaValidationError above 400 levels",
        "a fixed limit, so that no interpreter's limit is a verdict",
        "transactions 4.1",
        lambda c: _ours(c, "json.depth") and _depth(c.text) > 400,
    ),
    Difference(
        "text-long-number",
        "number literals of any length; integers of more than 4,300 digits fail (500)",
        "SchemaValidationError above 308 digits",
        "the limit of the published servers depends on the interpreter's settings",
        "transactions 4.1",
        lambda c: _ours(c, "json.digits") and _longest_number(c.text) > 308,
    ),
    Difference(
        "text-not-a-number",
        "NaN, Infinity and numbers beyond a double are read, and then fail one way or another",
        "SchemaValidationError",
        "they are no JSON and have no canonical form",
        "transactions 4.1, validation 3.2",
        lambda c: _ours(c, "json.number") and not c.theirs.accepted,
    ),
    Difference(
        "text-lone-surrogate",
        "500, because the text cannot be encoded in UTF-8",
        "SchemaValidationError",
        "a client's fault is a 400",
        "transactions 4.1, validation 3.2",
        lambda c: _ours(c, "json.surrogate") and c.crashed and _theirs(c, "UnicodeEncodeError"),
    ),
    # The top of the transaction
    Difference(
        "top-not-an-object",
        "500",
        "SchemaValidationError",
        "a client's fault is a 400",
        "validation 2 step 1",
        lambda c: _ours(c, "schema.type") and not isinstance(c.body, dict) and c.crashed,
    ),
    Difference(
        "top-members-first",
        "missing and unknown members, versions and operations show as InvalidHash, KeyError or a failure, "
        "differently in each release",
        "SchemaValidationError, before the id is looked at",
        "the message names the fault; unknown members are never dropped before hashing",
        "validation 2 step 2, transactions 1.1",
        lambda c: _ours_class(c, "SchemaValidationError") and _wrong_at_the_top(c) and _both_refuse(c),
    ),
    Difference(
        "id-not-hex",
        "500 for an id that is not text in hexadecimal digits",
        "InvalidHash",
        "a client's fault is a 400",
        "validation 3.2",
        lambda c: _crash(c, "InvalidHash") and not _is_hash(c.member("id")),
    ),
    Difference(
        "dialects-joined",
        "bigchaindb knows objects only and no script, planetmint 1.x text only",
        "in version 2.0 data and metadata may be text or an object, and a script of shape B may be present",
        "one chain takes the clients of both generations",
        "transactions 1.1",
        lambda c: (
            c.dialect is not C
            and _theirs(c, "SchemaValidationError")
            and _is_of_other_2_0_dialect(c)
            and c.ours.rule != "schema.type"
        ),
    ),
    Difference(
        "asset-null",
        "planetmint 1.x accepts `asset: null` on CREATE",
        "SchemaValidationError",
        "nothing could refer to it later",
        "transactions 1.1",
        lambda c: c.dialect is B and _ours(c, "schema.type") and c.member("asset") is None and c.theirs.accepted,
    ),
    Difference(
        "assets-item-null",
        "planetmint 2.x lets `assets: [null]` slip through for CREATE",
        "SchemaValidationError",
        "an asset is an object",
        "transactions 3",
        lambda c: c.dialect is C and _ours(c, "schema.type") and c.member("assets") == [None],
    ),
    Difference(
        "assets-null-elsewhere",
        "planetmint answers 500 for `asset: null` or `assets: null` on TRANSFER, COMPOSE and DECOMPOSE",
        "SchemaValidationError",
        "a client's fault is a 400",
        "validation 3.2",
        lambda c: _ours(c, "schema.type") and c.member(c.dialect.asset_member) is None and c.crashed,
    ),
    # Patterns
    Difference(
        "hash-anchored",
        "patterns for 64 hex digits match inside longer text, which then refers to nothing; planetmint 2.x "
        "does not even look at assets of a COMPOSE and at further assets of a TRANSFER",
        "SchemaValidationError",
        "a reference is a reference",
        "transactions 2.3",
        lambda c: (
            _ours(c, "schema.pattern")
            and (_theirs(c, "InputDoesNotExist", "AssetIdMismatch") or (c.dialect is C and c.theirs.accepted))
            and (
                any(_has_hash_inside(item.get("transaction_id")) for item in c.references)
                or any(
                    _has_hash_inside(item.get("id")) for item in [c.member("asset"), *c.objects("assets")] if item
                )
            )
        ),
    ),
    Difference(
        "key-form",
        "a key is 43 characters in a row of a class that resembles base58; the wrong length fails later (500)",
        "SchemaValidationError unless it is 43 or 44 base58 characters for 32 bytes",
        "a key that nobody can have would lock an output for ever",
        "transactions 2.3, validation 3.2",
        lambda c: (
            _ours(c, "schema.public_key", "condition.public_key")
            and _has_unreadable_key(c)
            and (c.theirs.accepted or c.crashed or c.operation in ELECTIONS)
        ),
    ),
    Difference(
        "owners-null",
        "500 for `owners_before: null`",
        "SchemaValidationError",
        "a client's fault is a 400",
        "transactions 2.2, validation 3.2",
        lambda c: (
            _ours(c, "schema.type")
            and c.crashed
            and any("owners_before" in item and item["owners_before"] is None for item in c.objects("inputs"))
        ),
    ),
    Difference(
        "pattern-nul",
        "the schema validator takes a NUL character for the end of a string and matches what stands before it, so "
        "that even a version `2.0` with a NUL behind it passes",
        "SchemaValidationError: the whole string has to match",
        "a pattern is about the whole text",
        "transactions 2.2 and 2.3",
        lambda c: _ours_class(c, "SchemaValidationError") and _has_nul(c),
    ),
    Difference(
        "details-as-fulfillment",
        "an object in place of the fulfillment is held against the schema of condition details; planetmint then "
        "accepts a CREATE with it, unsigned",
        "InvalidSignature for every object",
        "an unsigned draft is not a signed transaction, whatever stands in it",
        "transactions 2.2",
        lambda c: _ours(c, "fulfillment.encoding") and any(isinstance(item, dict) for item in c.fulfillments),
    ),
    # Conditions
    Difference(
        "uri-derived",
        "`condition.uri` is never held against the details",
        "SchemaValidationError unless it is exactly the derived URI",
        "what a payee is shown must be what the output asks for",
        "transactions 2.3",
        lambda c: _ours(c, "schema.uri") and _has_other_uri(c) and c.theirs.accepted,
    ),
    Difference(
        "condition-underivable",
        "a threshold above the number of subconditions, or no subconditions, is accepted and can never be spent",
        "SchemaValidationError",
        "no URI can be derived",
        "transactions 5.3",
        lambda c: _ours(c, "condition.threshold", "condition.subconditions") and _has_underivable_condition(c),
    ),
    Difference(
        "public-keys-in-condition",
        "`public_keys` is never held against the details",
        "ValidationError for a listed key that the condition does not hold",
        "a sender could show a payee an output that only the sender can spend",
        "transactions 2.3",
        lambda c: (
            _ours(c, "output.public_keys")
            and _has_foreign_listed_key(c)
            and (c.theirs.accepted or _theirs(c, "UnequalValidatorSet"))
        ),
    ),
    Difference(
        "zenroom-off",
        "bigchaindb refuses the type as a schema error, planetmint 1.x accepts outputs that can never be spent, "
        "2.x answers 500",
        "InvalidSignature while the chain parameter `contracts.zenroom` is `off`",
        "anyone can satisfy the published form",
        "transactions 5.4",
        lambda c: _ours(c, "contracts.off") and _has_zenroom(c),
    ),
    Difference(
        "zenroom-bound",
        "planetmint 1.x accepts a contract as a whole condition, which anybody satisfies with keys of their own",
        "where `contracts.zenroom` is `bound`: InvalidSignature unless the key of an owner stands beside it in a "
        "threshold, ValidationError unless owners are listed; spending takes the signatures of all of them",
        "a contract restricts the owners and never replaces them",
        "transactions 5.4",
        lambda c: _ours(c, "contracts.bound", "output.public_keys", "contracts.owners") and _has_zenroom(c),
    ),
    Difference(
        "zenroom-uri",
        "the URI of an output is never looked at, and an output with a contract cannot be spent",
        "where `contracts.zenroom` is `bound`: SchemaValidationError unless the URI has the type, cost and "
        "subtypes that its details derive to; its fingerprint is what the output is locked by",
        "an output could show the owner's key while its URI is that of a key of the sender",
        "transactions 5.4",
        lambda c: _ours(c, "schema.uri") and _has_zenroom(c),
    ),
    Difference(
        "zenroom-subtypes",
        "no URI that names keys and contracts as subtypes passes the schema; bigchaindb knows no contracts, "
        "planetmint 2.x answers 500",
        "accepted where `contracts.zenroom` is not `off`, in every dialect, and spendable",
        "keys and contracts must be able to stand in one condition",
        "transactions 2.3 and 5.4",
        lambda c: c.ours.accepted and not c.theirs.accepted and _has_zenroom(c),
    ),
    # Fulfillments and signatures
    Difference(
        "fulfillment-canonical",
        "padding, foreign characters, bytes behind the end and unsorted sets are ignored; bigchaindb accepts a "
        "CREATE whose threshold fulfillment holds no fulfillment at all",
        "InvalidSignature unless the text is the one and only encoding, with at least one signature",
        "a third party could change the text, and so the id, of a valid transaction; nobody would have signed",
        "transactions 5.3",
        lambda c: _ours_class(c, "InvalidSignature") and _has_odd_fulfillment(c) and c.theirs.accepted,
    ),
    Difference(
        "fulfillment-parser-fails",
        "500 for garbage that the parser of fulfillments does not survive",
        "InvalidSignature",
        "a client's fault is a 400",
        "transactions 5.3, validation 3.2",
        lambda c: _crash(c, "InvalidSignature") and _has_odd_fulfillment(c),
    ),
    Difference(
        "create-signature-checked",
        "planetmint since 1.3 does not verify the signature of a CREATE",
        "InvalidSignature",
        "anyone could create in another's name",
        "transactions 1.1, validation 4.1",
        lambda c: (
            c.dialect is not A
            and c.operation == "CREATE"
            and _ours(c, "signature", "signature.condition")
            and c.theirs.accepted
        ),
    ),
    Difference(
        "create-owners",
        "`owners_before` of a CREATE is never held against the keys that sign",
        "InvalidSignature unless the two sets are equal",
        "nobody creates in another's name",
        "transactions 5.3",
        lambda c: (
            c.operation == "CREATE" and _ours(c, "signature.owners") and _signed_by_others(c) and c.theirs.accepted
        ),
    ),
    # References
    Difference(
        "output-index",
        "500 for an index beyond the outputs of the transaction, or beyond 64 bits",
        "InputDoesNotExist",
        "a client's fault is a 400",
        "validation 3.2",
        lambda c: _crash(c, "InputDoesNotExist") and any(_is_beyond(c, item) for item in c.references),
    ),
    Difference(
        "order-of-rules",
        "planetmint 2.x verifies signatures before everything else about inputs, 1.x before the amounts",
        "of several faults the one that comes first in the order of bigchaindb",
        "one order for all dialects; signatures cost most and come last",
        "validation 4.2",
        lambda c: (
            c.dialect is not A
            and _theirs(c, "InvalidSignature")
            and (
                _ours(c, "transfer.amounts")
                or (
                    c.dialect is C
                    and (
                        _ours(c, "transfer.one_asset", "transfer.asset")
                        or (_ours(c, "input.twice") and _has_repeated_reference(c))
                    )
                )
            )
        ),
    ),
    # Elections and votes
    Difference(
        "elections-unchecked",
        "planetmint since 1.0 holds a posted election against no rule of the ledger, not even its signature; only "
        "its command line does",
        "the rules of elections on every path",
        "anybody could put an election with voters of his own on the chain, and so choose the validators",
        "validation 4.4",
        lambda c: (
            c.dialect is not A
            and c.operation in ELECTIONS
            and c.theirs.accepted
            and (_ours(c, "signature", "signature.owners") or str(c.ours.rule).startswith("election."))
        ),
    ),
    Difference(
        "election-owners",
        "bigchaindb never holds `owners_before` of an election against the keys that sign",
        "InvalidSignature unless the two are equal",
        "nobody opens an election in a validator's name",
        "transactions 5.3",
        lambda c: (
            c.dialect is A and c.operation in ELECTIONS and _ours(c, "signature.owners") and _signed_by_others(c)
        ),
    ),
    Difference(
        "election-schema",
        "the schemas of elections refer to a definition that they do not contain: what breaks them fails (500), "
        "or is not looked at, like the type and sign of a power, and with planetmint the number of inputs",
        "SchemaValidationError",
        "a client's fault is a 400, and a power has to be one for the engine",
        "validation 3.2, transactions 3",
        lambda c: (
            _ours_class(c, "SchemaValidationError")
            and c.operation in ELECTIONS
            and ((c.crashed and _theirs(c, "RefResolutionError")) or _has_odd_election(c))
        ),
    ),
    Difference(
        "candidate-spelling",
        "foreign characters in a base64 key are skipped, and other keys fail (500)",
        "InvalidPublicKey unless it is the one spelling of 32 bytes that outputs can list",
        "a validator that no output can list would end all elections",
        "validation 3.3",
        lambda c: (
            _ours_class(c, "InvalidPublicKey")
            and c.operation == "VALIDATOR_ELECTION"
            and (c.theirs.accepted or c.crashed)
        ),
    ),
    Difference(
        "power-for-the-engine",
        "an election that removes a stranger or the last validator, or a total beyond the engine's bound, passes",
        "InvalidPowerChange",
        "each of these ends the engine for good",
        "validation 4.4",
        lambda c: (
            _ours(c, "election.unknown_validator", "election.last_validator", "election.total")
            and c.theirs.accepted
        ),
    ),
    Difference(
        "voters-with-one-key",
        "two outputs for one validator count as the last of them, and an output without a key fails (500)",
        "UnequalValidatorSet",
        "each validator has exactly the votes of its power",
        "validation 4.4",
        lambda c: c.dialect is A and _ours(c, "election.voters") and (c.theirs.accepted or c.crashed),
    ),
    Difference(
        "votes-locked",
        "outputs of a VOTE may list no key, or one twice",
        "ValidationError",
        "what is counted as a vote must not be spendable again",
        "validation 4.4",
        lambda c: _ours(c, "vote.locked") and c.theirs.accepted,
    ),
    Difference(
        "vote-on-migration",
        "planetmint fails (500) on everything that spends shares of a CHAIN_MIGRATION_ELECTION",
        "they are spent like those of any election",
        "a migration could never be voted for",
        "validation 3.2, transactions 3.1",
        lambda c: c.dialect is not A and c.crashed and _theirs(c, "KeyError") and _spends_migration(c),
    ),
    # Compose, decompose, scripts (3.0)
    Difference(
        "compose-rules",
        "planetmint 2.x leaves the number of new assets and outputs, and naming the consumed assets, to clients",
        "ValidationError or AssetIdMismatch, as the client library would refuse",
        "other nodes and clients must be able to rely on what a COMPOSE says",
        "transactions 3.2, validation 4.3",
        lambda c: (
            c.operation == "COMPOSE"
            and _ours(c, "compose.new_asset", "compose.output", "compose.assets")
            and c.theirs.accepted
        ),
    ),
    Difference(
        "decompose-rules",
        "planetmint 2.x holds a DECOMPOSE against no rule: no existence, ownership, signature or double spend",
        "the rules of a spending transaction and those of the client library",
        "outputs could be split by anybody, twice, and without existing",
        "transactions 3.2, validation 4.3",
        lambda c: c.dialect is C and c.operation == "DECOMPOSE" and c.theirs.accepted and not c.ours.accepted,
    ),
    Difference(
        "create-from-decompose",
        "planetmint 2.x compares an object with a string and so refuses every CREATE with a reference, or fails",
        "a CREATE may consume an output of a DECOMPOSE with the same data, and is held against rules of its own",
        "the intended use; the published form cannot work",
        "validation 4.1",
        lambda c: (
            c.dialect is C
            and c.operation == "CREATE"
            and bool(c.references)
            and (
                _theirs(c, "ValidationError") or (c.crashed and _theirs(c, "IndexError", "KeyError", "TypeError"))
            )
        ),
    ),
    Difference(
        "decomposed-output",
        "planetmint 2.x fails (500) on a TRANSFER of a DECOMPOSE output and lets a COMPOSE consume it or fails",
        "AssetIdMismatch",
        "only a CREATE consumes what a DECOMPOSE made",
        "validation 4.2",
        lambda c: (
            c.dialect is C
            and _ours(c, "asset.decomposed", "transfer.one_asset")
            and c.spends_decomposed
            and (c.theirs.accepted or c.crashed)
        ),
    ),
    Difference(
        "scripts-off",
        "planetmint 2.x runs the script; its engine is not in the package, so it fails (500), as it does with an "
        "engine where the script prints something else than it declares",
        "InvalidScript where it does, and for every script while the chain parameter `contracts.scripts` is `off`",
        "a chain says what it runs, and what a client sent is never the server's fault",
        "transactions 6",
        lambda c: c.dialect is C and _ours(c, "script.off") and _theirs(c, "FileNotFoundError"),
    ),
)


def _is_beyond(comparison: Comparison, reference: dict[str, Json]) -> bool:
    index = reference.get("output_index")
    if not isinstance(index, int):
        return False
    outputs = [item["outputs"] for item in comparison.known if item["id"] == reference.get("transaction_id")]
    return index >= 2**63 or any(index >= len(items) for items in outputs)


def find_difference(comparison: Comparison) -> Difference | None:
    """The first entry that explains why the answers differ; ids that differ are never explained."""
    ours, theirs = comparison.ours, comparison.theirs
    if ours.id is not None and theirs.id is not None and ours.id != theirs.id:
        return None
    return next((item for item in DIFFERENCES if item.applies(comparison)), None)
