"""The HTML pages of gpubp, made once, and their styles in parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple
from xml.etree import ElementTree

from gpubp.bench.page import bench_page
from gpubp.explain.examples import EXAMPLES, example_by_name
from gpubp.explain.page import explain_page
from gpubp.explain.search.comparison import Settings, compare
from gpubp.explain.search.methods import Budget
from gpubp.explain.search.page import search_page
from gpubp.explain.trace import trace_steps
from gpubp.reports.model_report.page import model_page
from gpubp.reports.sweep.page import sweep_page
from tests.bench.test_page import made as measured
from tests.reports.models import made as reported
from tests.reports.sweeps import made as swept

NAMES = [*EXAMPLES, "search", "bench", "sweep", "classes", "numbers"]
SCHEMES = ("light", "dark")


class Rule(NamedTuple):
    """One CSS rule: its selector, and its properties."""

    selector: str
    properties: dict[str, str]


@cache
def page_of(name: str) -> str:
    """Return a page by its name in `NAMES`: of an example, a command, or a report."""
    if name == "bench":
        return bench_page(measured("gpubp"))
    if name == "sweep":
        return sweep_page(swept())
    if name in ("classes", "numbers"):
        return model_page(reported(name))
    if name == "search":
        settings = Settings(Budget(evaluations=2000), device="cpu", dtype="float64")
        return search_page(compare(example_by_name("two-weights"), settings))
    example = EXAMPLES[name]()
    return explain_page(example, list(trace_steps(example, 3)))


@cache
def main_of(name: str) -> ElementTree.Element:
    """Return the content of a page, without its scripts."""
    text = re.sub("<script.*?</script>", "", page_of(name), flags=re.DOTALL)
    found = re.search("<main>.*</main>", text, re.DOTALL)
    assert found is not None
    # The void elements and entities of HTML, as XML has them.
    whole = re.sub("(<input[^>]*)>", r"\1/>", found[0]).replace("&nbsp;", "\u00a0")
    return ElementTree.fromstring(re.sub(r" (open|hidden)=\"\"", r' \1="yes"', whole))


def style_of(name: str) -> str:
    """Return the style of a page without comments."""
    return "".join(re.findall("<style>(.*?)</style>", page_of(name), re.DOTALL))


def rules_of(name: str) -> Iterator[Rule]:
    """Yield the rules of a page, those inside of @media too."""
    for selector, body in re.findall(r"([^{};]+)\{([^{}]*)\}", style_of(name)):
        parts = (part.split(":", 1) for part in body.split(";") if ":" in part)
        yield Rule(" ".join(selector.split()), {k.strip(): v.strip() for k, v in parts})


def colours_of(name: str, scheme: str) -> dict[str, str]:
    """Return the custom properties that are colours, as #rrggbb, in "light" or "dark"."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", style_of(name)):
        found.setdefault(key, []).append(value)
    assert all(len(values) == 2 for values in found.values()), found
    return {key: values[SCHEMES.index(scheme)] for key, values in found.items()}
