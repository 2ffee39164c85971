# SPDX-License-Identifier: AGPL-3.0-or-later
"""Words: how texts are cut for the searches, and how a search is read. One tokeniser for every store.

Placeholder signature; see `tokens_of` and `parse_search`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search, cut into tokens by the same rules as the texts.

    Attributes:
        words: Any of these (OR); includes the words of the phrases. No repeats.
        phrases: Each must stand in one text leaf as consecutive tokens (AND).
        excluded: None of these may occur.
    """

    words: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[str, ...] = ()
