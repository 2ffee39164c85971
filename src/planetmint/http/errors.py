# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one table from errors to answers: status, wording, how long to wait, how loudly to log.

Every subclass of `InvalidTransaction`, `StoreError`, `EngineError` and `ContractError` has a row; a test walks
them. Texts of internal errors are never sent; `planetmint.http.failures` logs them. Source: http-api 2.2 and 4.3,
validation 1, transactions 6.
"""

import logging
from typing import NamedTuple, TypeAlias

from planetmint.http.answers import Answer, Header, json_answer
from planetmint.model import errors as invalid
from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import NOT_JSON, JsonObject
from planetmint.ports.errors import (
    ChainHalted,
    ChainMismatch,
    CommitTimeout,
    ContractError,
    ContractOverrun,
    ContractsUnavailable,
    EngineError,
    LayoutError,
    MempoolFull,
    StoreError,
    StoreFull,
)

NodeError: TypeAlias = InvalidTransaction | StoreError | EngineError | ContractError

NODE_ERRORS = (InvalidTransaction, StoreError, EngineError, ContractError)
"""The same, to be caught."""

NOT_UNDERSTOOD = "The browser (or proxy) sent a request that this server could not understand."

LONGEST_TEXT = 500
"""Characters of a reason or field that are sent; what follows in a longer one is the client's own text."""


class Row(NamedTuple):
    """How a class of errors is answered.

    Attributes:
        status: HTTP status.
        message: Text; ``{code}`` and ``{reason}`` stand for those of an `InvalidTransaction`, and of a
            `ContractOverrun`, whose text is about the sender's contract.
        level: Of the log line, as in `logging`; DEBUG for what is the sender's own affair.
        retry_after: Seconds until asking again makes sense; None where it does not.
    """

    status: int
    message: str
    level: int = logging.DEBUG
    retry_after: int | None = None


_REFUSED = Row(400, "Invalid transaction ({code}): {reason}")

TABLE: dict[type[Exception], Row] = {
    invalid.SchemaValidationError: Row(400, "Invalid transaction schema: {reason}"),
    invalid.InvalidHash: _REFUSED,
    invalid.ValidationError: _REFUSED,
    invalid.AmountError: _REFUSED,
    invalid.InvalidSignature: _REFUSED,
    invalid.ThresholdTooDeep: _REFUSED,
    invalid.InvalidPublicKey: _REFUSED,
    invalid.InvalidScript: _REFUSED,
    invalid.DuplicateTransaction: _REFUSED,
    invalid.InputDoesNotExist: _REFUSED,
    invalid.DoubleSpend: _REFUSED,
    invalid.AssetIdMismatch: _REFUSED,
    invalid.TransactionOwnerError: _REFUSED,
    invalid.MultipleInputsError: _REFUSED,
    invalid.InvalidProposer: _REFUSED,
    invalid.UnequalValidatorSet: _REFUSED,
    invalid.InvalidPowerChange: _REFUSED,
    invalid.TransactionTooLarge: Row(413, "Invalid transaction ({code}): {reason}"),
    invalid.InvalidTransaction: _REFUSED,
    StoreError: Row(503, "The node's database does not answer at present.", logging.ERROR, 5),
    StoreFull: Row(503, "The node's database takes no writes at present.", logging.ERROR, 30),
    LayoutError: Row(503, "The node's database needs its operator.", logging.ERROR, 60),
    EngineError: Row(503, "No blocks are made at present.", logging.ERROR, 5),
    MempoolFull: Row(503, "Too many transactions wait for a block already.", logging.WARNING, 1),
    ChainHalted: Row(
        503,
        "A chain migration is in progress. Transactions are taken again when the chain goes on; reads go on now.",
        logging.WARNING,
        60,
    ),
    ChainMismatch: Row(
        503, "The consensus engine runs another chain; the node needs its operator.", logging.ERROR, 60
    ),
    CommitTimeout: Row(
        504,
        "The transaction was in no block in time. It may still be committed: look it up by its id.",
        logging.WARNING,
    ),
    ContractError: Row(503, "Contracts cannot be run at present.", logging.ERROR, 5),
    ContractOverrun: Row(
        400,
        "This node does not run the contract to its end ({code}): {reason}. That is no verdict: another node may "
        "grant more. `planetmint contract run` and a dry run tell what a contract takes.",
        logging.INFO,
    ),
    ContractsUnavailable: Row(503, "Too many contracts wait, or none can be run at present.", logging.WARNING, 1),
}


def error_answer(error: NodeError) -> Answer:
    """The answer to a request that failed with `error`."""
    row = row_of(error)
    details = error_body(error)
    body: JsonObject = {"message": details.pop("message"), **details, "status": row.status}
    headers: tuple[Header, ...] = ()
    if row.retry_after is not None:
        headers = ((b"retry-after", b"%d" % row.retry_after),)
    return json_answer(body, row.status, headers)


def error_line(transaction_id: str | None, error: NodeError) -> JsonObject:
    """The line of a bulk answer for a refused transaction."""
    row = row_of(error)
    return {"id": transaction_id, "status": row.status, **error_body(error)}


def error_body(error: NodeError) -> JsonObject:
    """What is told about an error besides its status: message, class, and of a broken rule its name and field."""
    body: JsonObject = {"message": _message(error), "class": type(error).__name__}
    if isinstance(error, InvalidTransaction):
        body["rule"] = error.rule
        body["field"] = None if error.field is None else clipped(error.field)
    return body


def row_of(error: NodeError) -> Row:
    """The row of an error's class, or of the nearest class above it."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def _message(error: NodeError) -> str:
    row = row_of(error)
    if isinstance(error, ContractOverrun):
        return row.message.format(code=type(error).__name__, reason=clipped(str(error).rstrip(".")))
    if not isinstance(error, InvalidTransaction):
        return row.message
    if error.rule == NOT_JSON:
        return NOT_UNDERSTOOD
    return row.message.format(code=error.code, reason=clipped(error.reason))


def clipped(text: str) -> str:
    """A text of a client, not longer than `LONGEST_TEXT` and a sign that it goes on."""
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
