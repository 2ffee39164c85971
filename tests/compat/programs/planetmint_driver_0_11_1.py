# SPDX-License-Identifier: AGPL-3.0-or-later
"""planetmint-driver 0.11.1 from PyPI: version 2.0 transactions with a content id as asset data and metadata."""

import hashlib
import sys
import uuid

import base58
from planetmint_driver import Planetmint
from planetmint_driver.crypto import generate_keypair
from planetmint_driver.exceptions import BadRequest, NotFoundError
from planetmint_driver.offchain import fulfill_with_signing_delegation
from reporting import run
from version_2_story import Driver, Story

RUN = uuid.uuid4().hex  # makes the content of each run its own


def cid(label: str) -> str:
    """Content id, version 0, of the label in this run: base58 of a sha2-256 multihash."""
    return base58.b58encode(b"\x12\x20" + hashlib.sha256((label + RUN).encode()).digest()).decode()


DRIVER = Driver(
    connect=Planetmint,
    generate_keypair=generate_keypair,
    bad_request=BadRequest,
    not_found=NotFoundError,
    sign_by_callback=fulfill_with_signing_delegation,
    asset=lambda label: {"data": cid(label)},
    metadata=cid,
    search_term=cid,
)

sys.exit(run("planetmint-driver 0.11.1", Story(DRIVER, sys.argv[1]).steps()))
