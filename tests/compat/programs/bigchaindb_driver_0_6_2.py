# SPDX-License-Identifier: AGPL-3.0-or-later
"""bigchaindb-driver 0.6.2 from PyPI: version 2.0 transactions with objects as asset data and metadata."""

import sys
import uuid

from bigchaindb_driver import BigchainDB
from bigchaindb_driver.crypto import generate_keypair
from bigchaindb_driver.exceptions import BadRequest, NotFoundError
from reporting import run
from version_2_story import Driver, Story

RUN = uuid.uuid4().hex  # makes the assets and search words of each run its own


def word(label: str) -> str:
    """One search word that stands for the label in this run."""
    return label.replace(" ", "") + RUN


DRIVER = Driver(
    connect=BigchainDB,
    generate_keypair=generate_keypair,
    bad_request=BadRequest,
    not_found=NotFoundError,
    sign_by_callback=None,
    asset=lambda label: {"data": {"label": label, "word": word(label), "town": "Zürich ☂ 𝔘", "n": [1, 2.5]}},
    metadata=lambda label: {"note": f"about {word(label)}", "ratio": 1e-05, "big": 2**70, "none": None},
    search_term=word,
)

sys.exit(run("bigchaindb-driver 0.6.2", Story(DRIVER, sys.argv[1]).steps()))
