# SPDX-License-Identifier: AGPL-3.0-or-later
"""Prints what the administrator of a Tarantool server loads there, for a node whose own login may not do that.

`python -m planetmint.storage.tarantool USER > setup.lua`, then `dofile('setup.lua')` in the server's console.
"""

import sys

from planetmint.storage.tarantool.setup import setup_script


def main() -> None:
    """Print the script for the user who runs the node."""
    sys.stdout.write(setup_script(sys.argv[1] if len(sys.argv) > 1 else "guest"))


if __name__ == "__main__":
    main()
