# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker says of its walls: one line for each layer, whether it stands, and why not."""

from typing import NamedTuple


class Layer(NamedTuple):
    """One layer of the sandbox, as the first worker found it.

    Attributes:
        name: ``seccomp``, ``network``, ...
        active: Whether it stands.
        detail: What it denies, or why it is missing; for people.
    """

    name: str
    active: bool
    detail: str
