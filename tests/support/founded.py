# SPDX-License-Identifier: AGPL-3.0-or-later
"""A data folder whose chain was founded with validators of a test's choice, for a node process to take up."""

import base64
import json
import os
from pathlib import Path

from planetmint.chain import found_chain, founding_header, sign_header
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import ValidatorSet
from planetmint.runtime.keys import KEY_FILE
from planetmint.runtime.settings import LEDGER_FILE
from planetmint.storage.sqlite import SqliteStore
from tests.support.ledger import PUBLIC, SECRET, START


async def found_folder(folder: Path, validators: ValidatorSet, parameters: ChainParameters | None = None) -> None:
    """Found a chain in `folder`, whose blocks are signed by the key of `tests.support.ledger`.

    Args:
        folder: The data folder of a node.
        validators: The first set.
        parameters: The chain's; without contracts where none are given.
    """
    folder.mkdir(mode=0o700, parents=True)
    value = base64.b64encode(SECRET).decode()
    key = folder / KEY_FILE
    key.write_text(
        json.dumps({"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": value}}), encoding="utf-8"
    )
    os.chmod(key, 0o600)
    founding = found_chain("tests", parameters or ChainParameters(), validators, START)
    store = SqliteStore(folder / LEDGER_FILE)
    await store.open()
    try:
        await store.found(founding, sign_header(founding_header(founding, PUBLIC), SECRET))
    finally:
        await store.close()
