# SPDX-License-Identifier: AGPL-3.0-or-later
"""Draws the pictures of the manual: `python -m tests.support.pictures` writes docs/pictures/*.svg.

Plain SVG without scripts and fonts of its own. Each picture brings its own background, and dark colours for
readers whose system asks for them, so that it is readable on whatever page it stands.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"

_LINE = 19
_STYLE = """\
.page{fill:#ffffff}.box{fill:#f3f5f8;stroke:#5b6776}.key{fill:#e3f1e6;stroke:#2c7a42}
.gate{fill:#e4ecfa;stroke:#2f5fa8}.contract{fill:#faeedd;stroke:#9a6412}.off{stroke-dasharray:5 4}
.box,.key,.gate,.contract{stroke-width:1.5}text{fill:#1d2530;font:14px sans-serif;text-anchor:middle}
.head{font-weight:bold}.mono{font:12.5px monospace}.note{fill:#4c5866;font-size:13px}.left{text-anchor:start}
.line{fill:none;stroke:#5b6776;stroke-width:1.5}.tip{fill:#5b6776}
@media (prefers-color-scheme:dark){
.page{fill:#161b22}.box{fill:#222a34;stroke:#8b98a8}.key{fill:#1b3524;stroke:#63b67b}
.gate{fill:#1c2c48;stroke:#7ba6e8}.contract{fill:#3c2d16;stroke:#d9a55a}text{fill:#e8edf3}.note{fill:#b3bfcc}
.line{stroke:#8b98a8}.tip{fill:#8b98a8}}"""


class Box(NamedTuple):
    """A rounded rectangle with lines of text; a line that begins with ``#`` is bold, with ``=`` in fixed width."""

    left: int
    top: int
    width: int
    lines: Sequence[str]
    kind: str = "box"

    @property
    def height(self) -> int:
        return _LINE * len(self.lines) + 17

    @property
    def middle(self) -> int:
        return self.left + self.width // 2

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def right(self) -> int:
        return self.left + self.width

    def draw(self) -> str:
        shape = (
            f'<rect class="{self.kind}" x="{self.left}" y="{self.top}" width="{self.width}" '
            f'height="{self.height}" rx="7"/>'
        )
        texts = (
            _text(self.middle, self.top + 23 + number * _LINE, line) for number, line in enumerate(self.lines)
        )
        return "\n".join((shape, *texts))


def _text(x: int, y: int, line: str, kind: str = "") -> str:
    names = {"#": "head", "=": "mono"}
    kinds = " ".join(filter(None, (kind, names.get(line[:1]))))
    shown = line[1:] if line[:1] in names else line
    return f'<text{f" class={chr(34)}{kinds}{chr(34)}" if kinds else ""} x="{x}" y="{y}">{escape(shown)}</text>'


def note(x: int, y: int, line: str, *, left: bool = False) -> str:
    """Smaller text without a box, centred at `x` or beginning there."""
    return _text(x, y, line, "note left" if left else "note")


def down(upper: Box, lower: Box, share: float = 0.5) -> str:
    """An elbow from the lower edge of one box to the upper edge of another, whose branch it is."""
    start = upper.left + round(upper.width * share)
    half = (upper.bottom + lower.top) // 2
    return f'<path class="line" d="M{start} {upper.bottom}V{half}H{lower.middle}V{lower.top}"/>'


def arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    """A straight arrow, level or upright."""
    if y1 == y2:
        side = 9 if x2 > x1 else -9
        tip = f"{x2},{y2} {x2 - side},{y2 - 5} {x2 - side},{y2 + 5}"
    else:
        side = 9 if y2 > y1 else -9
        tip = f"{x2},{y2} {x2 - 5},{y2 - side} {x2 + 5},{y2 - side}"
    return f'<path class="line" d="M{x1} {y1}L{x2} {y2}"/>\n<polygon class="tip" points="{tip}"/>'


def picture(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """A whole file; `title` is read to those who do not see it."""
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{_STYLE}\n</style>",
            f'<rect class="page" width="{width}" height="{height}" rx="10"/>',
            *parts,
            "</svg>\n",
        )
    )


def output_and_input() -> str:
    """What an output asks for, what an input shows, and where the two meet."""
    details = Box(24, 56, 300, ("#condition.details", "the tree, to be read", "keys, thresholds, contracts"))
    uri = Box(24, 186, 300, ("#condition.uri", "=ni:///sha-256;f2sMhj8…?fpt=…"))
    shown = Box(476, 56, 300, ("#fulfillment", "the tree again, now with signatures", "=ooHRoIHMpGSAI…"))
    derived = Box(476, 186, 300, ("#the URI that it derives to", "=ni:///sha-256;f2sMhj8…?fpt=…"))
    message = Box(476, 296, 300, ("#every signature in it", "verifies over this transaction"), "key")
    return picture(
        800,
        370,
        "An output holds a condition, an input its fulfillment; both derive to one URI",
        (
            note(174, 36, "#an output: who may spend me"),
            note(626, 36, "#an input: here is the proof"),
            *(box.draw() for box in (details, uri, shown, derived, message)),
            arrow(details.middle, details.bottom, uri.middle, uri.top),
            note(details.middle + 12, 160, "derive", left=True),
            arrow(shown.middle, shown.bottom, derived.middle, derived.top),
            note(shown.middle + 12, 160, "derive", left=True),
            _equal(uri, derived),
            note(626, 280, "and"),
        ),
    )


def _equal(one: Box, other: Box) -> str:
    y = one.top + one.height // 2
    tips = arrow(400, y, one.right, y), arrow(400, y, other.left, y)
    return "\n".join((*tips, note(400, y - 12, "#must be equal")))


def two_of_three() -> str:
    """A threshold, and what stands in its fulfillment."""
    gate = Box(258, 24, 224, ("#threshold-sha-256", "2 of 3", "cost 265,216"), "gate")
    alice = Box(24, 148, 210, ("#Alice signs", "ed25519, cost 131,072"), "key")
    bob = Box(265, 148, 210, ("#Bob does not", "ed25519, cost 131,072"), "key off")
    carol = Box(506, 148, 210, ("#Carol signs", "ed25519, cost 131,072"), "key")
    below = (
        (alice, ("key and signature", "102 bytes")),
        (bob, ("fingerprint and cost", "41 bytes")),
        (carol, ("key and signature", "102 bytes")),
    )
    parts = [down(gate, alice, 0.25), down(gate, bob), down(gate, carol, 0.75)]
    parts += [box.draw() for box in (gate, alice, bob, carol)]
    for box, lines in below:
        parts.append(arrow(box.middle, box.bottom, box.middle, 240))
        parts += [note(box.middle, 262 + number * 18, line) for number, line in enumerate(lines)]
    parts.append(
        note(370, 318, "#the fulfillment: two given, so the threshold is two; one condition for the rest")
    )
    return picture(740, 338, "Two of three keys sign; the third stands in the fulfillment as a condition", parts)


def nested() -> str:
    """A threshold within a threshold, with the cost of each."""
    top = Box(190, 24, 300, ("#2 of 2", "131,072 + 133,120 + 2 × 1,024", "#= 266,240"), "gate")
    director = Box(24, 148, 190, ("#Director", "131,072"), "key")
    inner = Box(330, 148, 300, ("#1 of 2", "131,072 + 2 × 1,024", "#= 133,120"), "gate")
    one = Box(254, 272, 200, ("#Accountant A", "131,072"), "key")
    two = Box(506, 272, 200, ("#Accountant B", "131,072"), "key")
    return picture(
        730,
        374,
        "The director and one of two accountants: a threshold within a threshold, with costs",
        (
            down(top, director, 0.3),
            down(top, inner, 0.7),
            down(inner, one, 0.3),
            down(inner, two, 0.7),
            *(box.draw() for box in (top, director, inner, one, two)),
            note(365, 356, "the dearest branches that are needed, and 1,024 for every branch"),
        ),
    )


def contract_leaf() -> str:
    """A contract beside a key in mode bound, and what the engine is given."""
    gate = Box(150, 24, 180, ("#2 of 2",), "gate")
    owner = Box(24, 106, 200, ("#owner's key", "signs this transaction"), "key")
    leaf = Box(256, 106, 200, ("#contract", "Zencode, data, keys"), "contract")
    engine = Box(256, 232, 200, ("#engine, in the sandbox", "one answer on every node"))
    given = Box(
        506,
        106,
        250,
        (
            "#what the contract sees",
            "data of the fulfillment",
            "+ script.input(s)",
            "+ transaction:",
            "=message, signers",
        ),
    )
    expected = Box(506, 232, 250, ("#script.output(s)", "what the sender declared"))
    return picture(
        780,
        316,
        "A contract stands beside the owner's key: both have to agree",
        (
            down(gate, owner, 0.3),
            down(gate, leaf, 0.7),
            *(box.draw() for box in (gate, owner, leaf, engine, given, expected)),
            arrow(leaf.middle, leaf.bottom, engine.middle, engine.top),
            arrow(given.left, leaf.top + leaf.height // 2, leaf.right, leaf.top + leaf.height // 2),
            arrow(engine.right, 264, expected.left, 264),
            note(481, 254, "#="),
            note(124, 192, "#never without this one"),
        ),
    )


PICTURES: Mapping[str, Callable[[], str]] = {
    "output-and-input.svg": output_and_input,
    "threshold-2-of-3.svg": two_of_three,
    "threshold-nested.svg": nested,
    "contract-leaf.svg": contract_leaf,
}


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
