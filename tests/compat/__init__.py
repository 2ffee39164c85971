# SPDX-License-Identifier: AGPL-3.0-or-later
"""Published client drivers against a running node."""
