# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts run in processes that may do nothing but compute, and that may be lost."""
