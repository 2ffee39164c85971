# SPDX-License-Identifier: AGPL-3.0-or-later
"""Networks of real nodes under faults: `make e2e` runs all of them, the tests a part."""
