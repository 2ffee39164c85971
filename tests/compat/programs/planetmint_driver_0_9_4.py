# SPDX-License-Identifier: AGPL-3.0-or-later
"""planetmint-driver 0.9.4 from PyPI: version 2.0 transactions with objects as asset data and metadata."""

import sys
import uuid

from planetmint_driver import Planetmint
from planetmint_driver.crypto import generate_keypair
from planetmint_driver.exceptions import BadRequest, NotFoundError
from planetmint_driver.offchain import fulfill_with_signing_delegation
from reporting import run
from version_2_story import Driver, Story

RUN = uuid.uuid4().hex  # makes the assets and search words of each run its own


def word(label: str) -> str:
    """One search word that stands for the label in this run."""
    return label.replace(" ", "") + RUN


DRIVER = Driver(
    connect=Planetmint,
    generate_keypair=generate_keypair,
    bad_request=BadRequest,
    not_found=NotFoundError,
    sign_by_callback=fulfill_with_signing_delegation,
    asset=lambda label: {"data": {"label": label, "word": word(label), "town": "Zürich ☂ 𝔘", "n": [1, 2.5]}},
    metadata=lambda label: {"note": f"about {word(label)}", "ratio": 1e-05, "big": 2**70, "none": None},
    search_term=word,
)

sys.exit(run("planetmint-driver 0.9.4", Story(DRIVER, sys.argv[1]).steps()))
