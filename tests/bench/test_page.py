"""The page of `gpubp bench`: readable on a phone, disturbed rows apart, every term explained."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.charts import HATCH, Series, bars, chart_table
from gpubp.bench.page import bench_page
from gpubp.bench.report import HEADS
from gpubp.bench.results import Part, Row, Timing

LEAST_TEXT = 12.0  # pixels
PHONE = 400 - 2 * 16 - 2 * 13  # pixels of a drawing in its figure, on a screen of 400
PEERS = ("gpubp", "torch_eager", "sklearn_mlp", FLOOR)


def a_row(case: Case, disturbed: float) -> Row:
    figures = {"us_per_step": 5.0, "rows_per_second": 1e6, "disturbed_rounds": disturbed}
    if case.peer not in ("sklearn_mlp", FLOOR):
        figures["ratio"] = 3.0
    return Row(case.name, case.peer, timing=Timing(1.0, 0.9, 1.1, 5, "host"), figures=figures)


def made(*disturbed: str, vary: str = "batch", peers: tuple[str, ...] = PEERS) -> Part:
    """A run of two batches by four peers, some of them disturbed."""
    cases = [
        Case("S", (64, 100, 10), batch, 1797, peer, vary=vary)  # type: ignore[arg-type]
        for batch in (8, 64)
        for peer in peers
    ]
    facts = {"cpu": "a CPU", "cores": 2, "system": "Linux", "gpubp": "0.1", "python": "3.13"}
    machine = facts | {"packages": {}, "variables": {}, "unset": {}}
    suite = {"name": "my", "baseline": "sklearn_mlp", "cases": [c.values() for c in cases]}
    rows = tuple(a_row(case, float(case.peer in disturbed)) for case in cases)
    settings = {"suite": suite, "threads": 1}
    return Part(machine, "2026-01-01", 1.0, rows, settings)


def main_of(text: str) -> ElementTree.Element:
    found = re.search("<main>.*</main>", text, re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def test_every_cell_names_its_column_where_a_phone_stacks_the_table() -> None:
    text = bench_page(made())
    phone = re.search(r"@media \(max-width: 640px\) \{\n  table.stacked.*?\n\}", text, re.DOTALL)
    assert phone is not None
    assert "table.stacked tr { display: block;" in phone[0]
    assert "content: attr(data-label)" in phone[0]
    tables = [t for t in main_of(text).iter("table") if t.find("caption") is None]
    assert len(tables) == 2
    for table in tables:
        assert table.get("class") == "stacked"
        assert [child.tag for child in table] == ["thead", "tbody"]
        heads = ["".join(th.itertext()) for th in table[0].iter("th")]
        assert {th.get("scope") for th in table[0].iter("th")} == {"col"}
        assert [tr[0].get("scope") for tr in table[1]] == ["row"] * 4
        rows = [[cell.get("data-label") for cell in tr] for tr in table[1]]
        assert rows == [heads] * 4


def test_disturbed_bars_are_hatched_and_no_others() -> None:
    figure = list(main_of(bench_page(made("gpubp"))).iter("figure"))[-1]
    assert [pattern.get("id") for pattern in figure.iter("pattern")] == [HATCH]
    boxes = [rect.attrib for rect in figure.iter("rect")]
    hatched = [n for n, box in enumerate(boxes) if box.get("fill") == f"url(#{HATCH})"]
    assert hatched == [1, 4]  # over gpubp's, before PyTorch's
    for n in hatched:
        over, bar = ({k: box[k] for k in ("x", "y", "width")} for box in boxes[n - 1 : n + 1])
        assert over == bar
    assert "Hatched: other processes kept cores busy" in "".join(figure.itertext())
    quiet = bench_page(made())
    assert "<pattern" not in quiet
    assert "Hatched:" not in quiet


def test_disturbed_marks_are_hollow_and_no_others() -> None:
    figure = next(iter(main_of(bench_page(made("torch_eager"))).iter("figure")))
    marks = [p.get("class", "") for p in figure[1].iter("path") if "mark" in p.get("class", "")]
    assert [("hollow" in kind) for kind in marks] == [False, False, True, True, False, False]
    assert "Hollow: other processes kept cores busy" in "".join(figure.itertext())


def test_every_term_of_the_tables_is_explained() -> None:
    terms = [unescape(t) for t in re.findall("<dt>(.*?)</dt>", bench_page(made()))]
    shown = {"ratio": "× sklearn_mlp", "us/step": "µs/step"}
    assert {shown.get(head, head) for head in HEADS} < set(terms)
    assert {"case", "peer", FLOOR, "*", "-"} < set(terms)
    assert "of floor" not in terms
    without = bench_page(made(peers=("gpubp", "sklearn_mlp")))
    assert "floor" not in re.sub("<style>.*?</style>", "", without, flags=re.DOTALL)
    assert "matrix products of a step alone" in bench_page(made())
    alone = re.findall("<dt>(.*?)</dt>", bench_page(made(peers=PEERS[:3])))
    assert FLOOR not in alone
    part = made()
    known = replace(part.rows[0], figures=part.rows[0].figures | {"of_floor": 0.5})
    assert "<dt>of floor</dt>" in bench_page(replace(part, rows=(known, *part.rows[1:])))


@pytest.mark.parametrize("place", [0, 1])
def test_text_in_the_drawings_is_large_enough_on_a_phone(place: int) -> None:
    text = bench_page(made())
    drawing = [s for s in main_of(text).iter("svg") if s.get("role") == "img"][place]
    width = float(drawing.attrib["viewBox"].split()[2])
    size = re.search(r"svg text \{ font-size: ([\d.]+)px; \}", text)
    assert size is not None
    assert float(size[1]) * PHONE / width >= LEAST_TEXT


def test_the_names_of_cases_and_peers_have_room() -> None:
    case = Case("X100", (784, 1024, 1024, 10), 10000, 1, "torch_compile", device="cpu")
    other = replace(case, peer="gpubp_numpy")
    looks = {"torch_compile": 0, "gpubp_numpy": 1}
    pairs = [(c, a_row(c, 0.0)) for c in (case, other)]
    drawing = ElementTree.fromstring(bars(pairs, looks, "sklearn_mlp"))
    texts = {"".join(t.itertext()): t.attrib for t in drawing.iter("text")}
    assert list(texts)[:2] == [case.name, "torch_compile"]
    assert texts[case.name]["textLength"] == drawing.attrib["viewBox"].split()[2]
    for name in ("torch_compile", "gpubp_numpy"):
        assert float(texts[name]["x"]) >= len(name) * 14 * 0.55
    tops = [float(texts[name]["y"]) for name in (case.name, "torch_compile", "gpubp_numpy")]
    assert all(b - a >= 16 for a, b in pairwise(tops))


def test_what_all_cases_have_in_common_is_said_once() -> None:
    cases = [Case("S", (4, 3), batch, 1, "gpubp") for batch in (8, 64)]
    pairs = [(case, a_row(case, 0.0)) for case in cases]
    drawing = ElementTree.fromstring(bars(pairs, {"gpubp": 0}, "sklearn_mlp"))
    texts = ["".join(t.itertext()) for t in drawing.iter("text")]
    assert [t for t in texts if t.startswith("S ")] == ["S 4-3 b8", "S 4-3 b64"]
    assert texts[-1] == "all cases: adam float32 cpu"


def test_the_tables_of_the_charts_have_their_numbers() -> None:
    curves, ratios = main_of(bench_page(made("gpubp"))).iter("figure")
    cells = [["".join(cell.itertext()) for cell in row] for row in curves.iter("tr")]
    assert cells == [
        ["rows of a batch", "gpubp on cpu", "torch_eager on cpu", "sklearn_mlp on cpu"],
        ["8", "1,000,000*", "1,000,000", "1,000,000"],
        ["64", "1,000,000*", "1,000,000", "1,000,000"],
    ]
    cells = [["".join(cell.itertext()) for cell in row] for row in ratios.iter("tr")]
    assert cells == [
        ["case", "gpubp", "torch_eager"],
        ["S 64-100-10 b8 adam float32 cpu", "3.00*", "3.00"],
        ["S 64-100-10 b64 adam float32 cpu", "3.00*", "3.00"],
    ]


def test_a_series_without_a_point_has_a_dash_in_the_table() -> None:
    series = [Series("a", 1, ((1.0, 2.5), (2.0, 0.12345))), Series("<b>", 2, ((2.0, 7.0),))]
    text = chart_table(series, "x", "y")
    rows = re.findall("<tr>(.*?)</tr>", text)
    cells = [[unescape(c) for c in re.findall(">([^<>]+)<", row)] for row in rows]
    assert cells == [["x", "a", "<b>"], ["1", "2.5", "-"], ["2", "0.1235", "7"]]
