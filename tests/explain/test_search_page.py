"""The layout of the page of `gpubp search`, on a phone and on a desktop screen."""

from __future__ import annotations

import itertools
import re
from functools import cache

from gpubp.explain.examples import example_by_name
from gpubp.explain.search.comparison import Settings, compare
from gpubp.explain.search.figure import Axis
from gpubp.explain.search.methods import Budget
from gpubp.explain.search.page import search_page

LEAST_TEXT = 12.0  # pixels
PHONE = 400 - 2 * 16 - 2 * 13  # pixels of a drawing in its figure, on a screen of 400
LETTER = 0.6  # width of a digit, of the font size


@cache
def made() -> str:
    settings = Settings(Budget(evaluations=2000), device="cpu", dtype="float64")
    return search_page(compare(example_by_name("two-weights"), settings))


def sizes_of(text: str) -> list[float]:
    """The font sizes of the drawings: that of all text, and those of exponents."""
    base = re.search(r"svg text \{ font-size: ([\d.]+)px; \}", text)
    assert base is not None
    return [float(base[1]), *map(float, re.findall(r'font-size="([\d.]+)"', text))]


def test_ticks_and_their_exponents_can_be_read_on_a_phone() -> None:
    widths = {float(w) for w in re.findall(r'viewBox="0 0 (\d+) \d+" role="img"', made())}
    sizes = sizes_of(made())
    assert len(sizes) > 4
    assert min(sizes) * PHONE / max(widths) >= LEAST_TEXT
    assert "sup { line-height: 0; font-size: max(0.75em, 12px); }" in made()


def test_labels_of_an_axis_do_not_touch() -> None:
    (width,) = {float(w) for w in re.findall(r'viewBox="0 0 (\d+) \d+" role="img"', made())}
    # "10" and an exponent such as -15, in the largest font.
    label = 5 * LETTER * max(sizes_of(made()))
    for low, high in ((-15, 2), (-7, 0), (0, 6), (-300, 5)):
        ticks = Axis(low, high, 66, width - 18).ticks
        axis = Axis(low, high, 66, width - 18)
        places = [axis.at(10.0**k) for k in ticks]
        assert len(places) >= 2
        assert min(b - a for a, b in itertools.pairwise(places)) > label


def test_a_wide_screen_has_two_columns_and_a_narrow_one_has_one() -> None:
    text = made()
    columns = re.search(r"@media \(min-width: 1100px\) \{\n  \.pair \{([^}]*)\}", text)
    assert columns is not None
    assert "grid-template-columns: repeat(2, minmax(0, 1fr))" in columns[1]
    parts = text.split('<div class="pair">')
    assert len(parts) == 3
    assert 'class="stacked"' in parts[1]
    assert "<h2>What happened</h2>" in parts[2]
    assert "<h2>Time for all combinations" in parts[2]
    assert "max-width" not in re.findall(r"\nfigure \{([^}]*)\}", text)[0]
