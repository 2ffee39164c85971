# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the generated parts of the documentation again: `python -m tests.support.generate_docs` (`make docs`)."""

from pathlib import Path

from planetmint.cli import reference as commands
from planetmint.runtime import settings_reference as settings
from tests.support import pictures

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    """Write docs/commands.md, docs/configuration.md and docs/pictures."""
    (DOCS / "commands.md").write_text(commands.reference(), encoding="utf-8")
    (DOCS / "configuration.md").write_text(settings.reference(), encoding="utf-8")
    pictures.main()


if __name__ == "__main__":
    main()
