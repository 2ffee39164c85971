# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m planetmint` is the command `planetmint`."""

from planetmint.cli.main import main

main()
