# SPDX-License-Identifier: AGPL-3.0-or-later
"""Worker that answers what a published server would have said about a transaction.

Runs inside one of the environments that `environments` makes, with the published packages and nothing of this
project on its path: `python oracle.py bigchaindb|planetmint1|planetmint2`. Parsing, schemas, signatures and
rules are the packages' own code, called as their HTTP view calls it; only the database queries underneath are
answered from memory. One JSON object per line in and out:

    {"context": [transaction, ...], "block": [transaction, ...], "candidates": [text, ...],
     "validators": [[base64 of the key, power], ...]}
    {"answers": [{"id": ..., "accepted": ..., "error_class": ..., "message": ..., "caught": ...}, ...]}

`context` holds committed transactions in order, `block` those accepted earlier in the same block, and each
candidate is the text of a request body. `caught` tells an error that the server answers with 400 from an
exception that it does not expect (500). A first line `{"ready": true, "versions": {...}}` is sent at start.
"""

import copy
import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import logging
import os
import signal
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

Json = dict[str, Any]

UNUSED_MODULES = frozenset(
    {
        "abci",
        "cid",
        "decouple",
        "packaging",
        "pymongo",
        "requests",
        "setproctitle",
        "tarantool",
        "tendermint",
        "zenroom",
    }
)
"""Imported by the packages on the way to their rules, and not used by them: consensus and database clients,
process titles, client-side checks. `zenroom` stands here because the releases that the packages ask for
contain no engine (transactions 6)."""

CANDIDATE_SECONDS = 30.0
"""Processor time for one candidate: some conditions keep the published code busy for minutes."""


class _StandIn(types.ModuleType):
    """An empty module; every name that is imported from it is a class of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (Exception,), {})
        setattr(self, name, made)
        return made


class _StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] in UNUSED_MODULES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == "decouple":
            module.config = lambda name, default=None, cast=str: default  # type: ignore[attr-defined]
        if module.__name__ == "zenroom":
            module.zencode_exec = _no_engine  # type: ignore[attr-defined]


def _no_engine(*_: object, **__: object) -> None:
    raise FileNotFoundError("zencode-exec")


class Memory:
    """Stands for the connection: the committed transactions of the present request."""

    def __init__(self) -> None:
        self.transactions: dict[str, Json] = {}
        self.validators: list[Json] = []

    def replace(self, transactions: Iterable[Json], validators: Iterable[Sequence[Any]]) -> None:
        self.transactions = {transaction["id"]: transaction for transaction in transactions}
        self.validators = [
            {"public_key": {"type": "ed25519-base64", "value": key}, "voting_power": power}
            for key, power in validators
        ]

    def find(self, transaction_id: str) -> Json | None:
        """A copy, because the packages change what the database hands them."""
        return copy.deepcopy(self.transactions.get(transaction_id))

    def spenders(self, transaction_id: str, index: int) -> list[Json]:
        """Committed transactions with an input that fulfills this output."""
        return [
            copy.deepcopy(transaction)
            for transaction in self.transactions.values()
            if any(_spends(item, transaction_id, index) for item in transaction["inputs"])
        ]


def _spends(item: Json, transaction_id: str, index: int) -> bool:
    reference = item["fulfills"]
    return bool(reference) and reference["transaction_id"] == transaction_id and reference["output_index"] == index


class Published:
    """What the worker needs of one generation of packages.

    Attributes:
        distributions: The packages, by the names that they are installed under.
        memory: Stands for the database.
        transaction_class: The class that parses transactions.
        expected: The base of the errors that the view answers with 400.
        expected_while_parsing: Other errors that it answers so, from parsing alone.
        schema_error: Answered with 400 only when it carries the error of the schema validator.
        caches: Memoised functions.
    """

    distributions: Sequence[str] = ()
    memory: Memory
    transaction_class: Any
    expected: type[Exception]
    expected_while_parsing: tuple[type[Exception], ...]
    schema_error: type[Exception]
    caches: Sequence[Any]

    def parse(self, body: Any) -> Any:
        """The transaction object that the view makes of a request body."""
        raise NotImplementedError

    def validate(self, transaction: Any, block: list[Any]) -> None:
        """Raise what the view's validation raises."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop memoised answers: they are looked up by the claimed id (validation 6)."""
        for cache in self.caches:
            cache.cache_clear()


class BigchainDB(Published):
    """bigchaindb 2.2.2."""

    distributions = ("bigchaindb", "cryptoconditions")

    def __init__(self) -> None:
        from bigchaindb.backend import query
        from bigchaindb.common import exceptions, memoize
        from bigchaindb.common.transaction import Transaction as BaseTransaction
        from bigchaindb.lib import BigchainDB as Server
        from bigchaindb.models import Transaction

        self.memory = Memory()
        self.transaction_class = Transaction
        self.expected = exceptions.ValidationError
        self.expected_while_parsing = ()
        self.schema_error = exceptions.SchemaValidationError
        self.caches = (memoize.from_dict, memoize.to_dict, BaseTransaction._input_valid)
        self._server = Server.__new__(Server)
        self._server.connection = self.memory
        query.get_transaction.register(Memory, lambda memory, txid: memory.find(txid))
        query.get_asset.register(Memory, lambda memory, txid: None)
        query.get_assets.register(Memory, lambda memory, ids: _assets(memory, ids))
        query.get_validator_set.register(
            Memory, lambda memory, height=None: {"height": 1, "validators": copy.deepcopy(memory.validators)}
        )
        query.get_metadata.register(Memory, lambda memory, ids, **_: _metadata(memory, ids))
        query.get_spent.register(Memory, lambda memory, txid, output: memory.spenders(txid, output))

    def parse(self, body: Any) -> Any:
        return self.transaction_class.from_dict(body)

    def validate(self, transaction: Any, block: list[Any]) -> None:
        self._server.validate_transaction(transaction, block)


def _assets(memory: Memory, ids: Iterable[str]) -> list[Json]:
    """The asset documents of CREATE transactions, as the database keeps them: beside the transactions."""
    found = (memory.find(transaction_id) for transaction_id in ids)
    return [{**item["asset"], "id": item["id"]} for item in found if item and item["operation"] == "CREATE"]


def _metadata(memory: Memory, ids: Iterable[str]) -> list[Json]:
    found = (memory.find(transaction_id) for transaction_id in ids)
    return [{"id": item["id"], "metadata": item["metadata"]} for item in found if item]


class Planetmint1(Published):
    """planetmint 1.4.2."""

    distributions = ("planetmint", "planetmint-transactions", "planetmint-cryptoconditions")

    def __init__(self) -> None:
        from planetmint.backend import query
        from planetmint.lib import Planetmint
        from transactions.common import exceptions, memoize
        from transactions.common.transaction import Transaction

        self.memory = Memory()
        self.transaction_class = Transaction
        self.expected = exceptions.ValidationError
        self.expected_while_parsing = (KeyError,)
        self.schema_error = exceptions.SchemaValidationError
        self.caches = (memoize.from_dict, memoize.to_dict, Transaction._input_valid)
        self._server = Planetmint.__new__(Planetmint)
        self._server.connection = self.memory
        query.get_transaction.register(Memory, lambda memory, txid: memory.find(txid))
        query.get_assets.register(Memory, lambda memory, ids: [])
        query.get_metadata.register(Memory, lambda memory, ids, **_: _metadata(memory, ids))
        query.get_spent.register(Memory, lambda memory, txid, output: memory.spenders(txid, output))

    def parse(self, body: Any) -> Any:
        return self.transaction_class.from_dict(body, False)

    def validate(self, transaction: Any, block: list[Any]) -> None:
        self._server.validate_transaction(transaction, block)


class Planetmint2(Published):
    """planetmint 2.5.3."""

    distributions = ("planetmint", "planetmint-transactions", "planetmint-cryptoconditions")

    def __init__(self) -> None:
        from planetmint.application.validator import Validator
        from planetmint.backend import query
        from planetmint.backend.models.dbtransaction import DbTransaction
        from planetmint.backend.models.output import Output
        from planetmint.model.dataaccessor import DataAccessor
        from transactions.common import exceptions, memoize
        from transactions.common.transaction import Transaction

        self.memory = Memory()
        self.transaction_class = Transaction
        self.expected = exceptions.ValidationError
        self.expected_while_parsing = (KeyError,)
        self.schema_error = exceptions.SchemaValidationError
        self.caches = (memoize.from_dict, memoize.to_dict, Transaction._input_valid)
        accessor = object.__new__(DataAccessor)
        accessor.connection = self.memory
        self._validator = Validator.__new__(Validator)
        self._validator.models = accessor

        def outputs(memory: Memory, transaction_id: str) -> list[Any]:
            found = memory.find(transaction_id)
            items = found["outputs"] if found else []
            return [Output.from_dict(item, index, transaction_id) for index, item in enumerate(items)]

        def single(memory: Memory, transaction_id: str) -> Any:
            found = memory.find(transaction_id)
            if found is None:
                return None
            record = DbTransaction.from_dict(found)
            record.outputs = outputs(memory, transaction_id)
            return record

        def spending(memory: Memory, transaction_id: str, index: int) -> list[Any]:
            return [single(memory, item["id"]) for item in memory.spenders(transaction_id, index)]

        query.get_transaction_single.register(Memory, single)
        query.get_outputs_by_tx_id.register(Memory, outputs)
        query.get_spending_transaction.register(Memory, spending)

    def parse(self, body: Any) -> Any:
        return self.transaction_class.from_dict(body, False)

    def validate(self, transaction: Any, block: list[Any]) -> None:
        self._validator.validate_transaction(transaction, block)


GENERATIONS: dict[str, Callable[[], Published]] = {
    "bigchaindb": BigchainDB,
    "planetmint1": Planetmint1,
    "planetmint2": Planetmint2,
}


class OutOfTime(BaseException):
    """One candidate takes too long. Not an Exception, so that the packages do not catch it."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise OutOfTime

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)


def computed_id(published: Published, body: Any) -> str | None:
    """The id that the package's own check computes over this body, None where it cannot."""
    seen: list[str] = []
    # Both generations look `_to_hash` up on the class that defines it, so that is where to listen.
    home = next(item for item in published.transaction_class.__mro__ if "_to_hash" in vars(item))
    original = home._to_hash

    def listen(value: str) -> str:
        seen.append(original(value))
        return seen[-1]

    home._to_hash = staticmethod(listen)
    try:
        # Any exception at all: most of the time InvalidHash, for a body that is no transaction many others.
        with suppress(Exception):
            published.transaction_class.validate_id({**body, "id": "0" * 64})
    finally:
        home._to_hash = staticmethod(original)
    return seen[-1] if seen else None


def judge(published: Published, text: str, block: Sequence[Json]) -> Json:
    """The server's answer to a POST of this text."""
    published.forget()
    answer: Json = {"id": None, "accepted": False, "error_class": None, "message": None, "caught": False}
    expected: tuple[type[Exception], ...] = (published.expected, *published.expected_while_parsing)
    try:
        with _time_limit(CANDIDATE_SECONDS):
            body = json.loads(text.encode())  # bytes, as the web framework hands them over
            answer["id"] = computed_id(published, body)
            accepted = [published.transaction_class.from_dict(copy.deepcopy(item)) for item in block]
            published.forget()
            parsed = published.parse(body)
            expected = (published.expected,)
            published.validate(parsed, accepted)
    except OutOfTime:
        return {**answer, "error_class": "OutOfTime"}
    except Exception as error:  # noqa: BLE001
        # Any exception at all is the server's answer here: a 400 where the view expects it, else a 500.
        caught = isinstance(error, expected)
        if isinstance(error, published.schema_error):
            caught = hasattr(error.__cause__, "message")
        return {**answer, "error_class": type(error).__name__, "message": str(error)[:300], "caught": caught}
    return {**answer, "accepted": True}


def _answer(published: Published, request: Json) -> Json:
    published.memory.replace(request["context"], request["validators"])
    return {"answers": [judge(published, text, request["block"]) for text in request["candidates"]]}


def main() -> None:
    """Serve requests until standard input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (the packages print now and then)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.meta_path.insert(0, _StandInFinder())
    published = GENERATIONS[sys.argv[1]]()
    versions = {name: importlib.metadata.version(name) for name in published.distributions}
    for reply in _replies(published, versions):
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _replies(published: Published, versions: dict[str, str]) -> Iterator[Json]:
    yield {"ready": True, "versions": versions}
    for line in sys.stdin:
        yield _answer(published, json.loads(line))


if __name__ == "__main__":
    main()
