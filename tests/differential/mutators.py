# SPDX-License-Identifier: AGPL-3.0-or-later
# ruff: noqa: E501  (tables of values read better in rows)
"""One function per kind of fault (or of harmless oddity) that a transaction may have.

A mutator takes a chain and a valid draft that fits it and returns a body to spell as JSON, or the request
text itself where the spelling is the point, or None where it does not apply to this draft. Unless the fault
is in the signature or the id, the result is signed and hashed after the change, so that one fault stays one.
"""

import base64
import copy
import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.differential.chains import (
    ELECTIONS,
    KEY_ENCODERS,
    KEYS,
    MAX_AMOUNT,
    STRANGER,
    VALIDATORS,
    A,
    B,
    C,
    Chain,
    Draft,
    identified,
)
from tests.differential.wire import (
    Json,
    Key,
    Threshold,
    base64url,
    canonical,
    compute_id,
    der,
    from_base64url,
    n_of_n,
    sha3,
    signing_message,
)


@dataclass(frozen=True)
class Body:
    """A request body that may be spelled in any way."""

    value: Json


Made = Body | str | None


@dataclass(frozen=True)
class Mutator:
    """`make` as described at the top of this module."""

    name: str
    make: Callable[[Chain, Draft], Made]


ALL: list[Mutator] = []


def mutator(make: Callable[[Chain, Draft], Made]) -> Callable[[Chain, Draft], Made]:
    """Register a function under its own name."""
    ALL.append(Mutator(make.__name__, make))
    return make


def _finished(draft: Draft, body: Json) -> Body:
    return Body(identified(draft.sign(body)))


def _changed(draft: Draft) -> Json:
    return copy.deepcopy(draft.body)


# Any member at all

ODD_VALUES: tuple[Json, ...] = (
    None, True, False, 0, 1, -1, 1.0, 0.5, 2**64, 10**40, "", "x", "0", "1", "2.0", "\x00", "\n", "CREATE",
    [], [None], [[]], [1], ["x"], {}, {"a": 1}, {"": None}, {"data": None}, {"id": "0" * 64}, "0" * 64, "é",
)  # fmt: skip


def _paths(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a transaction, except inside asset data and metadata, which are free."""
    if path:
        yield path
    if path and path[-1] in ("data", "metadata"):
        return
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in members:
        yield from _paths(item, (*path, name))


def _at(body: Json, path: tuple[str | int, ...]) -> Json:
    for name in path:
        body = body[name]
    return body


def _finish_around(rng: random.Random, draft: Draft, body: Json, path: tuple[str | int, ...]) -> Body:
    """Sign and hash where that leaves the change at `path` in place; now and then leave the id wrong."""
    if path == ("id",):
        return Body(body)
    if path[-1] == "fulfillment":
        return Body(identified(body))
    return _finished(draft, body) if rng.random() < 0.9 else Body(draft.sign(body))


@mutator
def odd_value(chain: Chain, draft: Draft) -> Made:
    body = draft.finish()
    path = chain.rng.choice(list(_paths(body)))
    _at(body, path[:-1])[path[-1]] = copy.deepcopy(chain.rng.choice(ODD_VALUES))
    return _finish_around(chain.rng, draft, body, path)


@mutator
def odd_value_of_top_member(chain: Chain, draft: Draft) -> Made:
    body = draft.finish()
    name = chain.rng.choice(list(body))
    body[name] = copy.deepcopy(chain.rng.choice(ODD_VALUES))
    return _finish_around(chain.rng, draft, body, (name,))


@mutator
def missing_member(chain: Chain, draft: Draft) -> Made:
    body = draft.finish()
    path = chain.rng.choice([path for path in _paths(body) if isinstance(path[-1], str)])
    del _at(body, path[:-1])[path[-1]]
    return _finish_around(chain.rng, draft, body, path)


@mutator
def extra_member(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    objects = [path for path in [(), *_paths(body)] if isinstance(_at(body, path), dict)]
    objects = [path for path in objects if not path or path[-1] not in ("data", "metadata")]
    target = _at(body, chain.rng.choice(objects))
    name = chain.rng.choice(("extra", "", "Id", "assets", "asset", "data", "type", "timestamp", "é"))
    if name in target:
        return None
    target[name] = copy.deepcopy(chain.rng.choice(ODD_VALUES))
    return _finished(draft, body)


@mutator
def list_damaged(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    lists = [path for path in _paths(body) if isinstance(_at(body, path), list)]
    target = _at(body, chain.rng.choice(lists))
    how = chain.rng.randrange(4)
    if how == 0:
        target.clear()
    elif how == 1 and target:
        target.append(copy.deepcopy(target[0]))
    elif how == 2:
        target.append(copy.deepcopy(chain.rng.choice(ODD_VALUES)))
    else:
        target.reverse()
    return _finished(draft, body)


@mutator
def body_is_not_an_object(chain: Chain, draft: Draft) -> Made:
    return Body(chain.rng.choice(([], [draft.finish()], "x", "", 1, 1.5, None, True, {})))


@mutator
def text_is_not_json(chain: Chain, draft: Draft) -> Made:
    text = json.dumps(draft.finish())
    cut = chain.rng.randrange(len(text))
    return chain.rng.choice((text[:cut], text + "x", text + text, "", "{", "[1,]", text.replace('"', "'"), "nul"))


# Ids, versions, operations


@mutator
def wrong_id(chain: Chain, draft: Draft) -> Made:
    body = draft.finish()
    right: str = body["id"]
    place = chain.rng.randrange(64)
    digit = chain.rng.choice([char for char in "0123456789abcdef" if char != right[place]])
    other = chain.transactions[0]["id"]
    wrong = [
        right[:place] + digit + right[place + 1 :], right.upper(), right[:-1], right + "0", right + "\n", " " + right,
        "g" + right[1:], "", "x", 7, None, True, [right], {"id": right}, 1.5, other, "0" * 64, "\u00e9" * 64,
    ]  # fmt: skip
    return Body({**body, "id": chain.rng.choice(wrong)})


@mutator
def id_of_other_spelling(chain: Chain, draft: Draft) -> Made:
    """Hashes over JSON as other languages write it: keys unsorted, blanks, escapes, 1e-7, lower-case hex."""
    body = _changed(draft)
    if chain.dialect is A:
        body["metadata"] = {"v": chain.rng.choice(("é\x0b", "\x1f", 1e-7, 1e16, 1.0, {"b": 1, "a": 2}))}
    else:
        body["metadata"] = chain.rng.choice(("é\x0b", "\x1f", "\x0b"))
    signed = {**draft.sign(body), "id": None}
    texts = [json.dumps(signed), json.dumps(signed, sort_keys=True), canonical(signed) + " "]
    texts += [canonical(signed).replace("e-07", "e-7"), canonical(signed).replace("\\u000B", "\\u000b")]
    return Body({**signed, "id": sha3(chain.rng.choice(texts)).hex()})


@mutator
def content_changed_after_hashing(chain: Chain, draft: Draft) -> Made:
    body = draft.finish()
    if not body["outputs"]:
        return None
    body["outputs"][0]["amount"] = str(int(body["outputs"][0]["amount"]) + 1)
    return Body(body)


@mutator
def version_changed(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    versions = ["1.0", "0.9", "2", "2.0 ", "2.0\n", "3.1", "4.0", "v2.0", "", 2.0, 3.0, 2, None, ["2.0"]]
    versions.append("3.0" if chain.dialect is not C else "2.0")
    body["version"] = chain.rng.choice(versions)
    return _finished(draft, body)


@mutator
def operation_changed(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    names = [
        "create",
        "Create",
        "CREATE ",
        "CREATE\n",
        "GENESIS",
        "",
        "BID",
        None,
        1,
        ["CREATE"],
        "TRANSFER",
        "CREATE",
    ]
    names += ["COMPOSE", "DECOMPOSE", "VOTE", *ELECTIONS]
    body["operation"] = chain.rng.choice([name for name in names if name != body["operation"]])
    return _finished(draft, body)


# Amounts

AMOUNTS: tuple[Json, ...] = (
    "0", "00", "00000000000000000000", "0007", "00000000000000000001", "9000000000000000000", "9000000000000000001",
    "9999999999999999999", "99999999999999999999", "100000000000000000000", "18446744073709551616", "", "-1", "+1",
    " 1", "1 ", "1\n", "\n1", "1.0", "1e3", "0x1", "1_000", "\u0661", "\uff11", "\u00b2", "one", 1, 1.0, True, None, ["1"],
)  # fmt: skip


@mutator
def amount_odd(chain: Chain, draft: Draft) -> Made:
    if draft.spends:
        return None
    body = _changed(draft)
    chain.rng.choice(body["outputs"])["amount"] = chain.rng.choice(AMOUNTS)
    return _finished(draft, body)


@mutator
def amount_respelled(chain: Chain, draft: Draft) -> Made:
    """A TRANSFER whose amounts still add up as numbers."""
    body = _changed(draft)
    output = chain.rng.choice(body["outputs"])
    zeros = chain.rng.randint(1, 22)
    output["amount"] = chain.rng.choice(("0" * zeros + output["amount"], output["amount"].zfill(20)))
    return _finished(draft, body)


@mutator
def amounts_unbalanced(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    if body["operation"] not in ("TRANSFER", "VOTE") and not (body["operation"] == "CREATE" and draft.spends):
        return None
    change = chain.rng.randrange(3)
    output = chain.rng.choice(body["outputs"])
    if change == 0 and int(output["amount"]) < MAX_AMOUNT:
        output["amount"] = str(int(output["amount"]) + 1)
    elif change == 1 and int(output["amount"]) > 1:
        output["amount"] = str(int(output["amount"]) - 1)
    else:
        body["outputs"].remove(output)
    return _finished(draft, body)


@mutator
def no_outputs(chain: Chain, draft: Draft) -> Made:
    return _finished(draft, {**_changed(draft), "outputs": []})


# Inputs and references


@mutator
def second_input_on_create(chain: Chain, draft: Draft) -> Made:
    if draft.spends:
        return None
    body = _changed(draft)
    body["inputs"].append(copy.deepcopy(body["inputs"][0]))
    return _finished(draft, body)


@mutator
def no_inputs(chain: Chain, draft: Draft) -> Made:
    return _finished(draft, {**_changed(draft), "inputs": []})


@mutator
def reference_odd(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    reference = chain.rng.choice(body["inputs"])["fulfills"]
    if not reference:
        return None
    rng = chain.rng
    if rng.random() < 0.5:
        outputs = next(len(t["outputs"]) for t in chain.transactions if t["id"] == reference["transaction_id"])
        index = reference["output_index"]
        odd: tuple[Json, ...] = (
            outputs, outputs + 1, -1, -outputs, float(index), str(index), bool(index), None, 2**31, 2**63, 2**64, 10**30,
            [index], 1e300, -0.0,
        )  # fmt: skip
        reference["output_index"] = rng.choice(odd)
    else:
        known: str = reference["transaction_id"]
        odd = (
            "0" * 64, known[::-1], known.upper(), known[:-1], known + "0", known + "\n", "", "g" * 64, None, 1, [known],
        )  # fmt: skip
        reference["transaction_id"] = rng.choice(odd)
    return _finished(draft, body)


@mutator
def create_with_reference(chain: Chain, draft: Draft) -> Made:
    """A plain CREATE whose input points at something: an output that exists, or nothing."""
    body = _changed(draft)
    if body["operation"] != "CREATE" or draft.spends:
        return None
    target = chain.rng.choice([*chain.unspent, *chain.spent])
    body["inputs"][0]["fulfills"] = chain.rng.choice(
        (target.reference, {"transaction_id": "0" * 64, "output_index": 0}, {}, [], False)
    )
    return _finished(draft, body)


@mutator
def transfer_without_reference(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    if not draft.spends:
        return None
    chain.rng.choice(body["inputs"])["fulfills"] = chain.rng.choice((None, {}, [], "", False))
    return _finished(draft, body)


@mutator
def spends_again(chain: Chain, draft: Draft) -> Made:
    """Consumes an output that an earlier transaction of the chain or of the block consumed."""
    if not chain.spent:
        return None
    item = chain.rng.choice(chain.spent)
    body = chain.body(
        "TRANSFER",
        [{"id": item.asset_id}] if chain.dialect is C else {"id": item.asset_id},
        [
            {
                "owners_before": [key.text for key in item.condition.keys],
                "fulfills": item.reference,
                "fulfillment": None,
            }
        ],
        [chain.output(item.amount, KEYS[0])],
    )
    return _finished(Draft(body, [(item.condition, None)], [KEYS[0]], [item]), body)


@mutator
def sends_known_transaction(chain: Chain, draft: Draft) -> Made:
    return Body(copy.deepcopy(chain.rng.choice(chain.transactions)))


@mutator
def same_input_twice(chain: Chain, draft: Draft) -> Made:
    if not draft.spends or draft.body["operation"] == "DECOMPOSE" or draft.body["operation"] == "CREATE":
        return None
    body = _changed(draft)
    place = chain.rng.randrange(len(body["inputs"]))
    body["inputs"].append(copy.deepcopy(body["inputs"][place]))
    if body["operation"] == "TRANSFER":
        body["outputs"].append(chain.output(draft.spends[place].amount, KEYS[1]))
    doubled = Draft(body, [*draft.signing, draft.signing[place]], draft.outputs, draft.spends)
    return _finished(doubled, body)


@mutator
def inputs_of_two_assets(chain: Chain, draft: Draft) -> Made:
    if draft.body["operation"] != "TRANSFER":
        return None
    others = [item for item in chain.unspent if item.asset_id != draft.spends[0].asset_id]
    others = [item for item in others if item.operation != "DECOMPOSE"]
    if not others:
        return None
    item = chain.rng.choice(others)
    body = _changed(draft)
    owners = [key.text for key in item.condition.keys]
    body["inputs"].append({"owners_before": owners, "fulfills": item.reference, "fulfillment": None})
    body["outputs"].append(chain.output(item.amount, KEYS[2]))
    return _finished(Draft(body, [*draft.signing, (item.condition, None)], draft.outputs, draft.spends), body)


@mutator
def owners_before_odd(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    item = chain.rng.choice(body["inputs"])
    owners: list[str] = item["owners_before"]
    foreign = STRANGER.text
    odd: tuple[Json, ...] = (
        [foreign], [*owners, foreign], owners[::-1], owners[:1], [*owners, owners[0]], [], None, [foreign[:-2]],
        [foreign + "1"], ["0" * 44], [*owners, "x"], foreign, [[foreign]], ["1" * 44],
    )  # fmt: skip
    item["owners_before"] = chain.rng.choice(odd)
    return _finished(draft, body)


# Assets


@mutator
def asset_odd(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    other = chain.rng.choice(chain.transactions)["id"]
    items: tuple[Json, ...] = (
        {"id": other}, {"id": "0" * 64}, {"id": other.upper()}, {"id": other[:-1]}, {"id": other + "0"}, {"id": None},
        {"id": other, "data": None}, {"data": None}, {"data": {}}, {"data": {"a": 1}}, {"data": "QmText"}, {"data": ""},
        {"data": []}, {"data": 1}, {"data": True}, {"data": None, "x": 1}, {}, None, "x", [],
    )  # fmt: skip
    item = chain.rng.choice(items)
    if chain.dialect is not C:
        body["asset"] = item
        return _finished(draft, body)
    whole = list(body["assets"])
    place = chain.rng.randrange(len(whole))
    body["assets"] = chain.rng.choice(
        (
            [item],
            [item, item],
            [*whole, item],
            [item, *whole],
            [*whole[:place], item, *whole[place + 1 :]],
            None,
            [],
            {},
        )
    )
    return _finished(draft, body)


@mutator
def asset_without_object(chain: Chain, draft: Draft) -> Made:
    values: tuple[Json, ...] = (None, [None], [], {}, "", 0, False)
    return _finished(draft, {**_changed(draft), chain.dialect.asset_member: chain.rng.choice(values)})


NUL_TAILS = ("\x00", "\x00x", "\x00" * 3)


@mutator
def nul_behind_text(chain: Chain, draft: Draft) -> Made:
    """A NUL character at the end of a string that has to match a pattern."""
    body = draft.finish()
    free = ("data", "metadata")
    paths = [path for path in _paths(body) if isinstance(_at(body, path), str) and path[-1] not in free]
    path = chain.rng.choice(paths)
    holder = _at(body, path[:-1])
    holder[path[-1]] += chain.rng.choice(NUL_TAILS)
    return _finish_around(chain.rng, draft, body, path)


@mutator
def asset_of_other_transaction(chain: Chain, draft: Draft) -> Made:
    if draft.body["operation"] != "TRANSFER":
        return None
    own = draft.spends[0].asset_id
    others = [item["id"] for item in chain.transactions if item["id"] != own]
    body = _changed(draft)
    named = {"id": chain.rng.choice(others)}
    body[chain.dialect.asset_member] = [named] if chain.dialect is C else named
    return _finished(draft, body)


@mutator
def compose_rules(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    if body["operation"] != "COMPOSE":
        return None
    how = chain.rng.randrange(6)
    if how == 0:
        body["assets"] = [item for item in body["assets"] if "id" in item]
    elif how == 1:
        body["assets"].append({"data": "second"})
    elif how == 2:
        body["outputs"].append(chain.output(3, KEYS[3]))
    elif how == 3:
        body["assets"].pop()
    elif how == 4:
        body["assets"].append({"id": chain.rng.choice(chain.transactions)["id"]})
    else:
        body["assets"].reverse()
    return _finished(draft, body)


@mutator
def decompose_rules(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    if body["operation"] != "DECOMPOSE":
        return None
    how = chain.rng.randrange(7)
    if how == 0:
        body["assets"] = [item for item in body["assets"] if "id" in item]
    elif how == 1:
        body["assets"] = [item for item in body["assets"] if "data" in item]
    elif how == 2:
        body["outputs"][0] = chain.output(3, chain.rng.choice([key for key in KEYS if key != draft.outputs[0]]))
    elif how == 3:
        body["assets"].append({"id": body["assets"][-1]["id"]})
    elif how == 4:
        body["assets"][-1] = {"id": "0" * 64}
    elif how == 5:
        body["outputs"].append(chain.output(1, draft.outputs[0]))
    else:
        body["assets"].reverse()
    return _finished(draft, body)


@mutator
def decomposed_output_moved(chain: Chain, draft: Draft) -> Made:
    """TRANSFER, COMPOSE or CREATE with other data of an output that only a fitting CREATE may consume."""
    items = [item for item in chain.unspent if item.operation == "DECOMPOSE"]
    if not items:
        return None
    item = chain.rng.choice(items)
    operation = chain.rng.choice(("TRANSFER", "COMPOSE", "CREATE"))
    assets = {
        "TRANSFER": [{"id": chain.rng.choice((item.asset_id, item.transaction_id))}],
        "COMPOSE": [{"data": "new"}, {"id": item.asset_id}],
        "CREATE": [{"data": "something else"}],
    }[operation]
    owners = [key.text for key in item.condition.keys]
    inputs = [{"owners_before": owners, "fulfills": item.reference, "fulfillment": None}]
    body = chain.body(operation, assets, inputs, [chain.output(item.amount, KEYS[4])])
    return _finished(Draft(body, [(item.condition, None)], [KEYS[4]], [item]), body)


@mutator
def script_added(chain: Chain, draft: Draft) -> Made:
    rng = chain.rng
    code: Json = {"type": "zenroom", "raw": "Given nothing", "parameters": [{}]}
    script: dict[str, Json] = {"code": code, "state": "0" * 64, "input": {}, "output": {}}
    if chain.dialect is C:
        script = {"code": "Given nothing", "state": "0" * 64, "inputs": {}, "outputs": {}}
    how = rng.randrange(12)
    if how == 0:
        script["policies"] = {"raw": {}, "txids": {}, "x": 1}
    elif how == 1:
        script["policies"] = rng.choice(({"raw": 1}, [], None, {}))
    elif how == 2:
        script["code"] = rng.choice(({"transaction_id": "0" * 64}, "text", {}, None, {"type": "zenroom"}))
    elif how == 3:
        script["state"] = rng.choice(("0" * 65, "0" * 63, "F" * 64, "", None, "0" * 64 + "\n"))
    elif how == 4:
        del script[rng.choice(list(script))]
    elif how == 5:
        script["extra"] = 1
    elif how == 6:
        script["output" if "output" in script else "outputs"] = rng.choice(([], [1], "x", None, 1))
    elif how == 7:
        script["input" if "input" in script else "inputs"] = rng.choice(([], "x", None, 1, {"a": {"b": [1.0]}}))
    elif how == 8:
        return _finished(draft, {**_changed(draft), "script": rng.choice((None, {}, [], "x", 1))})
    return _finished(draft, {**_changed(draft), "script": script})


# Conditions


@mutator
def conditions_swapped(chain: Chain, draft: Draft) -> Made:
    """Details, URI or keys of one output taken from another condition."""
    body = _changed(draft)
    output = chain.rng.choice(body["outputs"])
    other = chain.output(1, chain.condition())
    how = chain.rng.randrange(4)
    if how == 0:
        output["condition"]["uri"] = other["condition"]["uri"]
    elif how == 1:
        output["condition"]["details"] = other["condition"]["details"]
    elif how == 2:
        output["public_keys"] = other["public_keys"]
    else:
        output["condition"] = other["condition"]
    return _finished(draft, body)


@mutator
def uri_odd(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    condition = chain.rng.choice(body["outputs"])["condition"]
    uri: str = condition["uri"]
    head, _, tail = uri.partition("?")
    odd = (
        uri + "\n", uri + "&", uri.replace("cost=", "cost=0"), uri.replace("131072", "131073"), uri.upper(), " " + uri,
        head, head + "?", head + "?" + "&".join(reversed(tail.split("&"))), uri.replace("ed25519", "preimage"),
        uri.replace("ni:///", "ni://"), uri.replace("sha-256;", "sha-512;"), uri + "&subtypes=ed25519-sha-256",
        head[:-1] + "?" + tail, head + "=?" + tail, "", uri + "&fpt=ed25519-sha-256",
    )  # fmt: skip
    condition["uri"] = chain.rng.choice(odd)
    return _finished(draft, body)


@mutator
def details_odd(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    output = chain.rng.choice(body["outputs"])
    key = KEYS[0]
    one = key.details
    details: tuple[Json, ...] = (
        {**one, "extra": 1}, {"type": one["type"]}, {"public_key": key.text}, {**one, "type": "preimage-sha-256"},
        {**one, "type": "ed25519"}, {**one, "type": "rsa-sha-256"}, {**one, "type": "zenroom-sha-256"},
        {**one, "type": None}, {**one, "public_key": key.text[:-1]}, {**one, "public_key": key.text + "1"},
        {**one, "public_key": "0" + key.text[1:]}, {**one, "public_key": "1" * 44}, {**one, "public_key": "1" * 32},
        {**one, "public_key": key.text + "\n"}, {**one, "public_key": ""}, {**one, "public_key": None},
        {**one, "public_key": key.text + key.text}, {**one, "public_key": "z" * 44}, {**one, "signature": "x"},
        *({"type": "threshold-sha-256", "threshold": threshold, "subconditions": [one, KEYS[1].details]}
          for threshold in (0, -1, 3, 101, 100, 1.0, 2.0, "1", True, None, 2**64)),
        {"type": "threshold-sha-256", "threshold": 1, "subconditions": []},
        {"type": "threshold-sha-256", "threshold": 1, "subconditions": {}},
        {"type": "threshold-sha-256", "threshold": 1, "subconditions": [None]},
        {"type": "threshold-sha-256", "threshold": 1, "subconditions": ["x"]},
        {"type": "threshold-sha-256", "threshold": 1, "subconditions": [one], "public_key": key.text},
        {"type": "threshold-sha-256", "subconditions": [one]},
        {"type": "threshold-sha-256", "threshold": 1},
        {"type": "ed25519-sha-256", "threshold": 1, "subconditions": [one]},
    )  # fmt: skip
    output["condition"]["details"] = chain.rng.choice(details)
    if chain.rng.random() < 0.5:
        output["public_keys"] = [key.text]
    return _finished(draft, body)


@mutator
def large_condition(chain: Chain, draft: Draft) -> Made:
    """Many keys, or thresholds around 127 and 128, where the DER integer grows by a byte."""
    if draft.spends:
        return None
    count = chain.rng.choice((6, 20, 60))
    condition = Threshold(chain.rng.randint(1, count), tuple(chain.rng.choice(KEYS) for _ in range(count)))
    body = _changed(draft)
    body["outputs"] = [chain.output(1, condition)]
    return _finished(draft, body)


@mutator
def condition_too_deep(chain: Chain, draft: Draft) -> Made:
    """Above the published limit of 100 levels; between ours and that the published code is busy for minutes."""
    details: Json = KEYS[0].details
    for _ in range(chain.rng.randint(100, 120)):
        details = {"type": "threshold-sha-256", "threshold": 1, "subconditions": [details]}
    body = _changed(draft)
    output = chain.output(1, KEYS[0])
    output["condition"] = {"details": details, "uri": Threshold(1, (KEYS[0],)).uri}
    body["outputs"] = [output]
    return _finished(draft, body)


@mutator
def public_keys_odd(chain: Chain, draft: Draft) -> Made:
    body = _changed(draft)
    output = chain.rng.choice(body["outputs"])
    keys: list[str] = output["public_keys"]
    foreign = STRANGER.text
    odd: tuple[Json, ...] = (
        [], None, [foreign], [*keys, foreign], keys[:1], keys[::-1], [*keys, keys[0]], [keys[0][:-2]], [keys[0] + "1"],
        ["0" * 44], ["1" * 44], [None], ["x"], keys[0], [[keys[0]]], {}, [keys[0] + "\n"], [" " + keys[0]],
    )  # fmt: skip
    output["public_keys"] = chain.rng.choice(odd)
    return _finished(draft, body)


# Elections and votes


def _election_data(chain: Chain, body: Json) -> Json:
    asset = body[chain.dialect.asset_member]
    return (asset[0] if chain.dialect is C else asset)["data"]


@mutator
def election_member_odd(chain: Chain, draft: Draft) -> Made:
    """A member inside of the data of an election, missing, unknown or of another type."""
    body = _changed(draft)
    if body["operation"] not in ELECTIONS:
        return None
    rng, data = chain.rng, _election_data(chain, body)
    if rng.random() < 0.2:
        data[rng.choice(("extra", "power", "seed", "public_key", ""))] = rng.choice(ODD_VALUES)
        return _finished(draft, body)
    path = rng.choice(list(_paths(data)) or [("extra",)])
    parent = _at(data, path[:-1])
    if rng.random() < 0.25:
        parent.pop(path[-1], None)
    else:
        parent[path[-1]] = rng.choice(ODD_VALUES)
    return _finished(draft, body)


@mutator
def candidate_odd(chain: Chain, draft: Draft) -> Made:
    """A key of another length, spelling or encoding, or a power that is not allowed."""
    body = _changed(draft)
    if body["operation"] != "VALIDATOR_ELECTION":
        return None
    rng, data = chain.rng, _election_data(chain, body)
    if rng.random() < 0.5:
        total = sum(power for _, power in VALIDATORS)
        data["power"] = rng.choice((0, 0, 0, 0, total // 3 + 1, total, -1, 2**63, 2**60, 10**30, 1.0, "1", True))
        return _finished(draft, body)
    encode, kind = rng.choice(KEY_ENCODERS)
    if rng.random() < 0.3:
        # What nobody but the node minds: a stranger to be removed, and a blank before the key.
        blank, data["power"] = rng.choice((("", 0), (" ", 1)))
        encode, kind = KEY_ENCODERS[-1]
        data["public_key"] = {"type": kind, "value": blank + encode(STRANGER.raw).decode()}
        return _finished(draft, body)
    raw = rng.choice((KEYS[0].raw[:31], KEYS[0].raw + b"x", bytes(32), KEYS[1].raw, KEYS[2].raw, KEYS[3].raw))
    text = encode(raw).decode()
    spellings = (
        text,
        text.lower(),
        text.rstrip("="),
        text + "=",
        f" {text}",
        f"{text}\n",
        text[:-1],
        text * 2,
        "\u00e9",
    )
    data["public_key"] = {
        "type": rng.choice((kind, kind, kind, "ed25519-base58", "secp256k1", "")),
        "value": rng.choice(spellings),
    }
    return _finished(draft, body)


@mutator
def voters_odd(chain: Chain, draft: Draft) -> Made:
    """Outputs of an election that are not the validators with their power."""
    body = _changed(draft)
    if body["operation"] not in ELECTIONS:
        return None
    rng, outputs = chain.rng, body["outputs"]
    place = rng.randrange(len(outputs))
    how = rng.randrange(6)
    if how == 0:
        del outputs[place]
    elif how == 1:
        outputs.append(chain.output(5, STRANGER))
    elif how == 2:
        outputs[place]["amount"] = str(int(outputs[place]["amount"]) + rng.choice((-1, 1)))
    elif how == 3:
        outputs.append(copy.deepcopy(outputs[place]))
    elif how == 4:
        outputs[place] = chain.output(int(outputs[place]["amount"]), STRANGER)
    else:
        outputs[place] = chain.output(int(outputs[place]["amount"]), Threshold(1, (KEYS[0], KEYS[1])))
    return _finished(draft, body)


@mutator
def initiator_odd(chain: Chain, draft: Draft) -> Made:
    """An election by a stranger, by two, or in another's name."""
    body = _changed(draft)
    if body["operation"] not in ELECTIONS:
        return None
    rng = chain.rng
    first, second = (key for key, _ in rng.sample(VALIDATORS, 2))
    owners = rng.choice(([STRANGER], [first, second], [first, STRANGER], [first]))
    signers = owners if rng.random() < 0.6 else [STRANGER]
    body["inputs"][0]["owners_before"] = [key.text for key in owners]
    other = dataclasses.replace(draft, signing=[(n_of_n(signers), None)])
    return _finished(other, body)


@mutator
def vote_outputs_odd(chain: Chain, draft: Draft) -> Made:
    """Outputs of a VOTE for several, for nobody, or with other amounts."""
    body = _changed(draft)
    if body["operation"] != "VOTE":
        return None
    output = body["outputs"][0]
    how = chain.rng.randrange(4)
    if how == 0:
        body["outputs"][0] = chain.output(int(output["amount"]), Threshold(1, (KEYS[0], KEYS[1])))
    elif how == 1:
        output["public_keys"] = []
    elif how == 2:
        output["public_keys"] *= 2
    else:
        output["amount"] = str(int(output["amount"]) + 1)
    return _finished(draft, body)


# Signatures and fulfillments


def _refilled(draft: Draft, place: int, fulfillment: Json) -> Body:
    body = draft.sign(draft.body)
    body["inputs"][place]["fulfillment"] = fulfillment
    return Body(identified(body))


def _fulfillment(chain: Chain, draft: Draft) -> tuple[int, str]:
    place = chain.rng.randrange(len(draft.body["inputs"]))
    return place, draft.sign(draft.body)["inputs"][place]["fulfillment"]


@mutator
def signature_bit_flipped(chain: Chain, draft: Draft) -> Made:
    """One bit anywhere in the fulfillment: tag, length, key or signature."""
    place, text = _fulfillment(chain, draft)
    data = bytearray(from_base64url(text))
    bit = chain.rng.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << (bit % 8)
    return _refilled(draft, place, base64url(bytes(data)))


@mutator
def signed_by_other_keys(chain: Chain, draft: Draft) -> Made:
    """A fulfillment of the same shape by keys that do not own the output (or are not named as owners)."""
    place = chain.rng.randrange(len(draft.body["inputs"]))
    own = {key.text for key in draft.signing[place][0].keys}
    others = [key for key in KEYS if key.text not in own]
    if len(others) < 2:
        return None
    signer = n_of_n(chain.rng.sample(others, chain.rng.randint(1, 2)))
    return _refilled(draft, place, base64url(signer.fulfill(signing_message(draft.body, place))))


@mutator
def two_faults_of_spending(chain: Chain, draft: Draft) -> Made:
    """Signed for another text, and with another fault among the inputs, the asset or the amounts."""
    if draft.body["operation"] not in ("TRANSFER", "COMPOSE"):
        return None
    body = _changed(draft)
    how = chain.rng.randrange(3)
    if how == 0:
        body["inputs"].append(copy.deepcopy(body["inputs"][0]))
    elif how == 1:
        body["outputs"].append(chain.output(1, KEYS[5]))
    else:
        own = {item.asset_id for item in draft.spends}
        others = [{"id": item["id"]} for item in chain.transactions if item["id"] not in own]
        if not others:
            return None
        named = chain.rng.choice(others)
        body[chain.dialect.asset_member] = [named] if chain.dialect is C else named
    signed = draft.sign(body)
    signed["metadata"] = {"changed": True} if chain.dialect is A else "changed"
    return Body(identified(signed))


@mutator
def signature_of_other_message(chain: Chain, draft: Draft) -> Made:
    place = chain.rng.randrange(len(draft.body["inputs"]))
    condition, signers = draft.signing[place]
    right = signing_message(draft.body, place)
    text = canonical({**draft.body, "id": None})
    wrong = chain.rng.choice((right[::-1], bytes(32), b"", text.encode(), sha3(text + " "), right + b"x"))
    return _refilled(draft, place, base64url(condition.fulfill(wrong, signers)))


@mutator
def scalar_out_of_range(chain: Chain, draft: Draft) -> Made:
    """The same signature with the group order added to its scalar: valid by a sloppy equation only."""
    place, text = _fulfillment(chain, draft)
    if not isinstance(draft.signing[place][0], Key):
        return None
    data = from_base64url(text)
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(data[-32:], "little") + order
    return _refilled(draft, place, base64url(data[:-32] + scalar.to_bytes(32, "little")))


@mutator
def fulfillment_text_odd(chain: Chain, draft: Draft) -> Made:
    """Other texts for the same or a broken fulfillment: padding, foreign characters, bytes behind the end."""
    place, text = _fulfillment(chain, draft)
    data = from_base64url(text)
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    nudged = text[:-1] + last[(last.index(text[-1]) & ~3) | ((last.index(text[-1]) + 1) & 3)]
    long_length = data[:1] + bytes([0x81, data[1]]) + data[2:]
    texts: tuple[Json, ...] = (
        text + "=", text + "==", text + "A", text + "AA", text + "AAAA", text[:-1], text[:-4], text[4:], "", "A", "AAAA",
        "AAA", "pGSA", nudged, text + "\n", " " + text, text[:10] + "!" + text[10:], text[:10] + " " + text[10:],
        base64.b64encode(data).decode(), base64url(data + b"\x00"), base64url(data + data), base64url(long_length),
        base64url(data[:1] + b"\x80" + data[2:] + b"\x00\x00"), base64url(bytes(len(data))), base64url(b"\x30" + data[1:]),
        base64url(der(0xA0, der(0x80, b"preimage"))), base64url(der(0xA1, b"")), base64url(der(0xA3, b"")),
        base64url(der(0xA5, der(0x80, b"x") + der(0x81, b"null") + der(0x82, b"null"))), base64url(der(0xA4, b"")),
        base64url(der(0xA2, b"")), base64url(der(0xA2, der(0xA0, b"") + der(0xA1, b""))), base64url(der(0x04, data)),
        KEYS[0].details, {}, None, 0, [], "\u00e9", data.hex(),
    )  # fmt: skip
    return _refilled(draft, place, chain.rng.choice(texts))


@mutator
def threshold_fulfillment_odd(chain: Chain, draft: Draft) -> Made:
    """Too few, too many, unsorted or foreign parts in a threshold fulfillment."""
    place = chain.rng.randrange(len(draft.body["inputs"]))
    condition, _ = draft.signing[place]
    if not isinstance(condition, Threshold):
        return None
    message = signing_message(draft.body, place)
    parts = list(condition.parts)
    given = parts[: condition.needed]
    rest = parts[condition.needed :]
    how = chain.rng.randrange(6)
    if how == 0:
        given, rest = given[:-1], [*rest, given[-1]]
    elif how == 1 and rest:
        given, rest = [*given, rest[0]], rest[1:]
    elif how == 2:
        rest = rest[:-1]
    elif how == 3:
        rest = [*rest, KEYS[0]]
    elif how == 4:
        given = [KEYS[11], *given[1:]]
    fulfilled = sorted(part.fulfill(message) for part in given)
    others = sorted(part.condition for part in rest)
    if how == 5:
        fulfilled.reverse()
        others.reverse()
    data = der(0xA2, der(0xA0, b"".join(fulfilled)) + der(0xA1, b"".join(others)))
    return _refilled(draft, place, base64url(data))


@mutator
def fulfillments_exchanged(chain: Chain, draft: Draft) -> Made:
    body = draft.sign(draft.body)
    inputs = body["inputs"]
    if len(inputs) < 2:
        return None
    inputs[0]["fulfillment"], inputs[1]["fulfillment"] = inputs[1]["fulfillment"], inputs[0]["fulfillment"]
    return Body(identified(body))


@mutator
def changed_after_signing(chain: Chain, draft: Draft) -> Made:
    body = draft.sign(draft.body)
    body["metadata"] = {"changed": True} if chain.dialect is A else "changed"
    return Body(identified(body))


# Free values: keys, languages, numbers, strings, depth

KEY_NAMES = (
    "$a", "a.b", ".", ".a", "a.", "a\x00", "\x00", "$", "$$", "a$b", "", " ", "\n.", "\n$a", "a\nb.c", "lang", "Language",
    "id", "asset", "__proto__", "\uff0e", "\u00a7$",
)  # fmt: skip

LANGUAGES: tuple[Json, ...] = (
    "english", "en", "none", "tr", "nb", "klingon", "English", "EN", "", "no", "en ", None, 1, True, {}, [], ["en"],
    {"language": "en"}, {"a": {"language": "klingon"}}, 1.5,
)  # fmt: skip


def _nest(rng: random.Random, value: Json) -> Json:
    """`value` at some depth in objects and arrays."""
    for _ in range(rng.randrange(4)):
        value = rng.choice(({"n": value}, {"n": [value]}, {"n": [[value]]}, {"a": 1, "n": [0, {"m": value}]}))
    return value


def _with_free(chain: Chain, draft: Draft, value: Json) -> Json:
    """The draft's body with `value` as asset data or metadata."""
    body = _changed(draft)
    if body["operation"] == "CREATE" and chain.rng.random() < 0.5:
        asset = body[chain.dialect.asset_member]
        (asset[0] if chain.dialect is C else asset)["data"] = value
    else:
        body["metadata"] = value
    return body


@mutator
def key_name_odd(chain: Chain, draft: Draft) -> Made:
    value = _nest(chain.rng, {chain.rng.choice(KEY_NAMES): _nest(chain.rng, 1)})
    return _finished(draft, _with_free(chain, draft, value))


@mutator
def language_odd(chain: Chain, draft: Draft) -> Made:
    value = _nest(chain.rng, {"language": chain.rng.choice(LANGUAGES)})
    return _finished(draft, _with_free(chain, draft, value))


@mutator
def free_value_odd(chain: Chain, draft: Draft) -> Made:
    values: tuple[Json, ...] = (
        None, {}, {"a": 1}, "", "text", "QmX", [], [1], 1, 1.5, True, {"a": None}, "\x00", "a" * 5000, {"a": "b" * 5000},
    )  # fmt: skip
    return _finished(draft, _with_free(chain, draft, chain.rng.choice(values)))


NUMBER_SPELLINGS = (
    "0", "-0", "0.0", "-0.0", "1", "1.0", "1e0", "1E0", "1e+0", "1E+02", "1e-02", "0.1e1", "100000000000000000000", "1e5",
    "1e15", "1e16", "1.0e21", "1e22", "123456789012345678901234567890.0", "0.1", "0.10", "1e-7", "0.0000001", "5e-324",
    "4.9406564584124654e-324", "2.4703282292062327e-324", "1e-400", "1.7976931348623157e308", "2.2250738585072011e-308",
    "9007199254740993", "9007199254740993.0", "9007199254740992.9999999999", "18446744073709551615",
    "18446744073709551616", "-9223372036854775808", "-9223372036854775809", "1" * 100, "1" * 308, "-" + "9" * 308,
    "0." + "3" * 300, "1" + "0" * 300 + ".5", "0.3333333333333333148296162562473909929394721984863281", "8.5e-5",
)  # fmt: skip

REFUSED_NUMBERS = (
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1.8e308", "1" * 309, "-" + "1" * 309, "1" * 5000, "9" * 310 + ".0",
    "01", "+1", "1.", ".5", "0x10", "1e", "--1", "1_0", "nan", "inf", "0.5f", "1" * 309 + "e-5", "0." + "3" * 400,
)  # fmt: skip

MARK = "\ue000splice\ue000"


def _spliced(chain: Chain, draft: Draft, spelling: str, canonical_text: str) -> str:
    """Text of the draft with `spelling` as metadata (inside an object in A), signed over `canonical_text`."""

    def write(value: Json) -> str:
        return canonical(value).replace(canonical(MARK), canonical_text)

    body = {**_changed(draft), "metadata": {"n": MARK} if chain.dialect is A else MARK}
    finished = identified(draft.sign(body, write), write)
    return json.dumps(finished).replace(json.dumps(MARK), spelling)


@mutator
def number_spelling(chain: Chain, draft: Draft) -> Made:
    spelling = chain.rng.choice(NUMBER_SPELLINGS)
    return _spliced(chain, draft, spelling, canonical(json.loads(spelling))) if chain.dialect is A else None


@mutator
def number_refused(chain: Chain, draft: Draft) -> Made:
    spelling = chain.rng.choice(REFUSED_NUMBERS)
    return _spliced(chain, draft, spelling, "1") if chain.dialect is A else None


STRING_SPELLINGS = (
    r'"\u0041"', r'"\u00e9"', r'"\u00E9"', r'"\/"', '"/"', r'"\ud83d\ude00"', '"\U0001f600"', r'"\u2028"', r'"\u007f"',
    r'"\u000b"', r'"\u000B"', r'"\b\f\n\r\t\"\\"', r'"\u0000"', r'"\ufeff"', r'"\uffff"', r'"\u0008"', '"e\u0301"',
)  # fmt: skip

REFUSED_STRINGS = (
    r'"\ud800"', r'"\udc00"', r'"\ud800\ud800"', r'"a\udfffb"', r'"\ud83dx"', r'"\x41"', r'"\u12"', '"\n"', '"\x00"',
    r'"\a"', "'a'", '"a', r'"\uD800\u0041"',
)  # fmt: skip


@mutator
def string_spelling(chain: Chain, draft: Draft) -> Made:
    spelling = chain.rng.choice(STRING_SPELLINGS)
    return _spliced(chain, draft, spelling, canonical(json.loads(spelling)))


@mutator
def string_refused(chain: Chain, draft: Draft) -> Made:
    return _spliced(chain, draft, chain.rng.choice(REFUSED_STRINGS), '"a"')


@mutator
def member_name_with_surrogate(chain: Chain, draft: Draft) -> Made:
    return _spliced(chain, draft, r'{"\ud800": 1}', '{"a":1}') if chain.dialect is A else None


@mutator
def deep_value(chain: Chain, draft: Draft) -> Made:
    if chain.dialect is not A:
        return None
    levels = chain.rng.choice((10, 50, 200, 390, 396, 397, 398, 399, 400, 401, 402, 410, 2000))
    opening, closing = chain.rng.choice((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")))
    count = levels // len(closing)
    text = opening * count + "0" + closing * count
    return _spliced(chain, draft, text, text)


@mutator
def duplicate_members(chain: Chain, draft: Draft) -> Made:
    """The last of equal names counts: before or after the good one stands a bad one."""
    body = draft.finish()
    text = json.dumps(body)
    name = chain.rng.choice(list(body))
    junk = json.dumps(chain.rng.choice(ODD_VALUES))
    if chain.rng.random() < 0.7:
        return "{" + f"{json.dumps(name)}: {junk}, " + text[1:]
    return text[:-1] + f", {json.dumps(name)}: {junk}" + "}"


@mutator
def duplicate_members_inside(chain: Chain, draft: Draft) -> Made:
    if chain.dialect is not A:
        return None
    first, last = ("1", "2") if chain.rng.random() < 0.5 else ('{"$x": 1}', "[]")
    return _spliced(chain, draft, f'{{"a": {first}, "b": 0, "a": {last}}}', f'{{"a":{last},"b":0}}')


@mutator
def text_around(chain: Chain, draft: Draft) -> Made:
    text = json.dumps(draft.finish())
    return chain.rng.choice(
        ("  " + text, text + "\n\t ", "\r\n" + text, "\ufeff" + text, "\x0b" + text, text + "\x00")
    )


@mutator
def hash_of_unsigned_text(chain: Chain, draft: Draft) -> Made:
    """The id as very old drivers computed it: without fulfillments."""
    signed = draft.sign(draft.body)
    return Body({**signed, "id": compute_id(draft.body)})


@mutator
def zenroom_condition(chain: Chain, draft: Draft) -> Made:
    if chain.dialect is not B:
        return None
    body = _changed(draft)
    output = chain.rng.choice(body["outputs"])
    digest = base64url(sha3("contract"))
    output["condition"] = {
        "details": {"type": "zenroom-sha-256", "public_key": output["public_keys"][0]},
        "uri": f"ni:///sha-256;{digest}?fpt=zenroom-sha-256&cost=131072",
    }
    return _finished(draft, body)


@mutator
def zenroom_beside_a_key(chain: Chain, draft: Draft) -> Made:
    if draft.body["operation"] not in ("CREATE", "TRANSFER", "COMPOSE"):
        return None
    rng = chain.rng
    body = _changed(draft)
    output = rng.choice(body["outputs"])
    key = rng.choice(KEYS)
    leaves: list[Json] = [key.details, {"type": "zenroom-sha-256", "public_key": rng.choice(KEYS).text}]
    threshold = rng.choice((1, 2))
    cost = 131072 * threshold + 2048
    kind = rng.choice(("ed25519-sha-256,zenroom-sha-256",) * 4 + ("ed25519-sha-256", "zenroom-sha-256"))
    digest = base64url(sha3("contract"))
    output["condition"] = {
        "details": {"type": "threshold-sha-256", "threshold": threshold, "subconditions": leaves},
        "uri": f"ni:///sha-256;{digest}?fpt=threshold-sha-256&cost={cost}&subtypes={kind}",
    }
    output["public_keys"] = rng.choice(([key.text], [key.text], [key.text], [], None, [rng.choice(KEYS).text]))
    return _finished(draft, body)
