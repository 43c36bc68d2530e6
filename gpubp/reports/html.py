"""The HTML that gpubp writes: one self-contained page, with colours for light and dark.

Nothing is loaded from elsewhere, and a content security policy in the page holds it to that.
"""

from __future__ import annotations

import json
import math
from html import escape
from typing import Any

__all__ = ["STACKED_CSS", "element", "escape", "json_script", "number", "page", "svg"]

# A page may use its own inline style and script, and nothing else.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

_CSS = """
:root {
  color-scheme: light dark;
  --ground: #fcfcfa; --panel: #ffffff; --ink: #1b2330; --quiet: #586273; --line: #dcdfe3;
  --faint: #868e99; --forward: #1f63ad; --backward: #b8480f; --good: #22753f; --bad: #b3261e;
  --series-1: #2948da; --series-2: #e14200; --series-3: #009f6e; --series-4: #a06aac;
  --series-5: #8d2d13; --series-6: #6e2539; --series-7: #4c517a; --series-8: #467cd5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181e; --panel: #1b2027; --ink: #e6e9ee; --quiet: #9fa9b7; --line: #313842;
    --faint: #6b7687; --forward: #74b2f2; --backward: #f2a066; --good: #71c98c; --bad: #f28b82;
    --series-1: #82ffff; --series-2: #f58905; --series-3: #499077; --series-4: #ab6fce;
    --series-5: #fac57c; --series-6: #8177fe; --series-7: #a39fc6; --series-8: #e1592e;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 "Segoe UI", Roboto, "Helvetica Neue", Arial, system-ui, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}
main { max-width: 1320px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 8px; }
h3 { font-size: 1rem; margin: 20px 0 6px; }
p { margin: 0 0 12px; max-width: 68ch; }
.quiet { color: var(--quiet); }
.forward { color: var(--forward); }
.backward { color: var(--backward); }
.good { color: var(--good); }
.bad { color: var(--bad); }
figure { margin: 0; }
svg { display: block; max-width: 100%; height: auto; }
svg text { fill: var(--ink); font-family: inherit; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-size: 0.875rem; }
th { text-align: left; font-weight: 600; color: var(--quiet); }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody th { color: var(--ink); }
td.number, th.number { text-align: right; white-space: nowrap; }
.scroll { overflow-x: auto; }
:focus-visible { outline: 2px solid var(--forward); outline-offset: 2px; }
summary { cursor: pointer; font-weight: 600; padding: 10px 0; }
.numbers { flex: 0 0 100%; min-width: 0; margin: 4px 0 0; font-size: 0.875rem; }
.numbers table { width: auto; margin: 0 0 14px; }
.numbers caption { text-align: left; color: var(--quiet); padding-bottom: 4px; }
.numbers td, .numbers thead th + th { text-align: right; }
.numbers th, .numbers td { padding: 4px 14px 4px 0; vertical-align: bottom; }
.numbers td, .numbers tbody th { white-space: nowrap; }
.numbers .scroll { max-height: 420px; overflow-y: auto; padding: 2px; }
[hidden] { display: none !important; }
@media print { .numbers .scroll { max-height: none; } }
@media (prefers-reduced-motion: reduce) {
  *, ::before, ::after {
    animation: none !important; transition: none !important; scroll-behavior: auto !important;
  }
}
"""

# Wide tables of the class "stacked": on a phone, each row becomes a block, and each cell follows
# the name of its column, which its attribute data-label holds.
STACKED_CSS = """
@media (max-width: 640px) {
  table.stacked, table.stacked tbody { display: block; }
  table.stacked thead { display: none; }
  table.stacked tr { display: block; border-bottom: 1px solid var(--line); padding: 8px 0; }
  table.stacked th, table.stacked td, table.stacked td.number { display: flex;
    justify-content: space-between; gap: 16px; border: 0; padding: 1px 0; text-align: right; }
  table.stacked th::before, table.stacked td::before { content: attr(data-label);
    color: var(--quiet); font-weight: 400; text-align: left; }
}
"""


def page(title: str, body: str, css: str = "", script: str = "") -> str:
    """Return a whole HTML page.

    title : plain text. body : markup, in which the caller has escaped all text.
    css : follows the shared style. script : runs at the end of the page. It must not contain
    names or data, which belong into `json_script`.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n'
        f"<style>{_CSS}{css}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def element(name: str, inner: str = "", /, **attributes: Any) -> str:
    """Return ``<name ...>inner</name>``, with its attributes escaped; ``inner`` is markup.

    attributes : ``class_`` becomes class, ``data_n`` becomes data-n. Floats are rounded to 2
    decimals, enough for a drawing. None and False omit an attribute, True gives it no value.
    """
    kept = [
        (key, value)
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    head = " ".join([name, *(_attribute(key, value) for key, value in kept)])
    return f"<{head}>{inner}</{name}>"


def _attribute(key: str, value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.2f}".rstrip("0").rstrip(".")
    else:
        text = "" if value is True else escape(str(value))
    return f'{key.rstrip("_").replace("_", "-")}="{text}"'


def svg(
    width: float,
    height: float,
    inner: str,
    label: str,
    role: str = "img",
    *,
    about: str = "",
    **attributes: Any,
) -> str:
    """Return an SVG drawing of ``width`` x ``height`` units.

    label : its name for screen readers. role : "group" if something in it can be selected.
    about : its description for screen readers, plain text; "" for none.
    """
    box = f"0 0 {width:g} {height:g}"
    head = element("title", escape(label)) + (element("desc", escape(about)) if about else "")
    return element("svg", head + inner, viewBox=box, role=role, aria_label=label, **attributes)


def json_script(identifier: str, data: Any) -> str:
    """Return ``data`` as JSON in a script element, for the page's script to parse.

    Numbers keep the full precision of float64. The caller must have replaced infinities and NaN,
    which JSON lacks.
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    # So that no name can end the element or open a comment.
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script type="application/json" id="{escape(identifier)}">{text}</script>'


def number(value: float, digits: int = 6) -> str:
    """Return ``value`` to ``digits`` significant digits, with a true minus sign."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    text = f"{value + 0.0:.{digits}g}"  # + 0.0 turns -0.0 into 0
    mantissa, _, exponent = text.partition("e")
    return (f"{mantissa}e{int(exponent)}" if exponent else mantissa).replace("-", "−")
