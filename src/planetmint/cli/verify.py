# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `verify`: everything that the database holds is derived again from its transactions."""

import asyncio
import calendar
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from planetmint.app import SignatureCache, Verifier
from planetmint.app.contracts import ContractJudge
from planetmint.app.verify import DAMAGE, Difference, LedgerCheck, Verified
from planetmint.chain import UnknownRules
from planetmint.cli.console import CommandFailed, say, show_json
from planetmint.cli.engine_client import ask_engine
from planetmint.cli.progress import Progress
from planetmint.model.json import JsonObject
from planetmint.ports.errors import ChainMismatch
from planetmint.runtime.contracts import ContractHost
from planetmint.runtime.reading import reading_store
from planetmint.runtime.scratch import scratch_file
from planetmint.runtime.settings import Settings

MOST = 1_000
"""Differences that are named one by one; the rest is counted."""

_REMEMBERED = 20_000


def verify(settings: Settings, start: int) -> bool:
    """Check the ledger from block `start` on, and print a summary; whether all is as it must be.

    Raises:
        CommandFailed: There is no chain.
        ConfigurationError, StoreError: The database cannot be read at all.
    """
    found: list[Difference] = []
    begun = time.monotonic()

    def report(difference: Difference) -> None:
        if len(found) < MOST:
            found.append(difference)
            say(str(difference))
        elif len(found) == MOST:
            say(f"There are more than {MOST} differences; the rest is counted only.")

    outcome = asyncio.run(_verify(settings, start, report))
    differences = outcome.differences
    for text in _told_by_engine(settings, outcome):
        differences += 1
        report(Difference(None if outcome.head is None else outcome.head.height, text))
    outcome = replace(outcome, differences=differences)
    if not outcome.whole and outcome.head is not None:
        say("Warning: blocks came all the time, so that what belongs to no single block was not checked.")
    if outcome.unjudged:
        say(
            f"Warning: the contracts of {outcome.unjudged} transactions could not be run here, so that what they "
            "say was not checked."
        )
    show_json(_summary(outcome, found, start, time.monotonic() - begun))
    return outcome.differences == 0


async def _verify(settings: Settings, start: int, report: Callable[[Difference], None]) -> Verified:
    engine = ContractHost(settings)
    threads = settings.server.threads or os.cpu_count() or 1
    verifier = Verifier(SignatureCache(_REMEMBERED), threads, contracts=ContractJudge(engine))
    try:
        async with reading_store(settings) as store:
            try:
                head, founding = await store.head(), await store.founding()
                empty = head is None and founding is None
                if founding is not None:
                    # Without the engine all but the contracts is checked, and that is said.
                    with suppress(ChainMismatch, UnknownRules):
                        engine.accept(founding.parameters)
                last = None if head is None else head.height
            except DAMAGE:
                empty, last = False, None
            if empty:
                raise CommandFailed("The database holds no chain yet: there is nothing to verify.")
            with scratch_file() as scratch, Progress("Verify", "blocks", last and last + 1) as progress:
                check = LedgerCheck(
                    store,
                    verifier,
                    scratch,
                    report,
                    start=start,
                    watch=lambda height: progress.to(height + 1),
                )
                return await check.run()
    finally:
        verifier.close()
        await engine.close()


def _told_by_engine(settings: Settings, outcome: Verified) -> Iterator[str]:
    """Hold time and proposer of the newest block, which nothing else tells, against the engine's header of it."""
    head = outcome.head
    if settings.consensus.engine != "cometbft" or head is None or head.height <= outcome.shift:
        return
    try:
        header = ask_engine(settings, "header", height=head.height - outcome.shift)["header"]
        told = {"time": nanoseconds(str(header["time"])), "proposer": str(header["proposer_address"]).lower()}
    except (OSError, ValueError, LookupError, TypeError):
        say("The engine does not answer: time and proposer of the newest block are not held against its header.")
        return
    for name, value in told.items():
        if getattr(head, name) != value:
            yield f"the header's {name} is {getattr(head, name)}, and the engine's header says {value}"


def nanoseconds(text: str) -> int:
    """The engine's text of a time, e.g. `2026-01-31T12:00:00.123456789Z`, since 1970. Raises ValueError."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))


def _summary(outcome: Verified, found: list[Difference], start: int, seconds: float) -> JsonObject:
    head = outcome.head
    return {
        "app_hash": None if head is None else head.app_hash,
        "contracts_not_judged": outcome.unjudged,
        "differences": outcome.differences,
        "end_checked": outcome.whole,
        "found": [{"height": item.height, "text": item.text} for item in found],
        "from": start,
        "height": None if head is None else head.height,
        "seconds": round(seconds, 3),
        "transactions": outcome.transactions,
    }
