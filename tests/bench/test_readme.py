"""The README's figures are those of the results that are committed."""

from __future__ import annotations

import re

import pytest

from gpubp.bench.readme import BEGIN, END, PICTURE, ROOT, figures, main, picture
from gpubp.bench.results import load

RESULTS = sorted((ROOT / "bench" / "results").glob("cpu-*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_figures_of_the_readme_are_measured(path) -> None:
    (part,) = load(path).values()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.partition(BEGIN)[2].partition(END)[0] == figures(part)
    assert (ROOT / PICTURE).read_text(encoding="utf-8") == picture(part)


def test_the_picture_is_drawn_from_the_ratios() -> None:
    drawn = (ROOT / PICTURE).read_text(encoding="utf-8")
    assert drawn.startswith("<svg ")
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawn[:400]
    assert len(re.findall("<rect", drawn)) >= 6
    assert RESULTS, "no results of the suite cpu are committed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "usage: python -m gpubp.bench.readme RESULTS.json"),
        (("--help",), "usage: python -m gpubp.bench.readme RESULTS.json"),
        (
            ("none.json",),
            "'none.json' has no results of gpubp bench cpu; give a file that it wrote",
        ),
        ((__file__,), "does not hold results of schema"),
    ],
)
def test_a_wrong_call_ends_in_one_line_and_writes_nothing(arguments, message: str) -> None:
    before = (ROOT / "README.md").stat().st_mtime_ns
    with pytest.raises(SystemExit, match=re.escape(message)):
        main(*arguments)
    assert (ROOT / "README.md").stat().st_mtime_ns == before
