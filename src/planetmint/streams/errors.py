# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be wrong with the query string of a stream URL."""


class BadParameter(Exception):
    """A query parameter that refuses the handshake with 400.

    Attributes:
        name: Of the parameter.
        why: One clause for people.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name
        self.why = why
