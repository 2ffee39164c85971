# SPDX-License-Identifier: AGPL-3.0-or-later
"""Limits of the system that a node with many subscribers meets."""

import resource

_WANTED_FILES = 65_536


def raise_file_limit() -> int:
    """Raise the limit on open files as far as the system allows, up to what 20,000 subscribers need; the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    return wanted
