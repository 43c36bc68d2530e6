"""The pages of the guide and the README, taken apart into blocks of code and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(
    r"(?m)^(?P<fence>`{3,}|:{3,})(?P<kind>[^\n`]*)\n(?P<text>.*?)^(?P=fence)$", re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line where the text begins, and its output.

    output : the text of a block of "text" that follows at once; None where none does.
    """

    kind: str
    text: str
    line: int
    output: str | None


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = list(_FENCE.finditer(text))
    blocks = []
    for block, after in zip(found, [*found[1:], None], strict=False):
        output = None
        if after and after["kind"] == "text" and not text[block.end() : after.start()].strip():
            output = after["text"]
        line = text.count("\n", 0, block.start("text")) + 1
        blocks.append(Block(block["kind"].strip(), block["text"], line, output))
    return blocks


def links_of(text: str) -> list[str]:
    """Return the targets of a page's links and pictures, those of the web left out."""
    found = re.findall(r"\]\(([^()\s]+)\)", _FENCE.sub("", text))
    return [target for target in found if not target.startswith(("http:", "https:", "mailto:"))]


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"(?m)^#{1,3} (.+)$", _FENCE.sub("", text))
    return {_slug(heading) for heading in headings}


def _slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return kept.replace(" ", "-")
