# SPDX-License-Identifier: AGPL-3.0-or-later
"""Print every committed transaction the moment it is in a block, until Ctrl-C.

Usage: python watch.py [URL of the node, by default http://localhost:9984]
"""

import json
import sys

from planetmint_driver import Planetmint
from websockets.sync.client import connect

node = Planetmint(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:9984")
address = node.api_info()["streams"]  # the node says itself where its stream is

try:
    with connect(address) as stream:
        print("watching", address, flush=True)
        for message in stream:
            event = json.loads(message)
            print(f"block {event['height']}: transaction {event['transaction_id']}", flush=True)
except KeyboardInterrupt:
    print("stopped")
