"""The page of `gpubp explain`: well-formed, self-contained, and every number from the trace."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import combinations, pairwise, product
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import SGD, Adam
from gpubp.backprop.solvers import formula_of
from gpubp.explain import quantities as explain_quantities
from gpubp.explain.example import Example, build
from gpubp.explain.examples import EXAMPLES
from gpubp.explain.layout import Box, Ends, is_free, name_lines, place_labels, text_width
from gpubp.explain.page import explain_page
from gpubp.explain.parameters import parameters_of
from gpubp.explain.quantities import bias_name, kept_steps, shown_units, weight_name
from gpubp.explain.trace import StepTrace, trace_steps
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.reports.html import json_script, number, page
from tests.backprop import solver_cases

VOID = {"meta", "link", "input"}
NASTY = "</script><b>x"


class Structure(HTMLParser):
    """Checks that every element is closed where it should be; keeps elements and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


@cache
def parsed(text: str) -> Structure:
    structure = Structure()
    structure.feed(text)
    structure.close()
    assert structure.open == []
    return structure


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="trace">(.*?)</script>', text, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def stages_of(text: str) -> dict[str, str]:
    """The markup of each stage by its number."""
    parts = re.split(r'<section class="stage[^"]*" data-key="([^"]*)">', text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words_of(markup: str) -> str:
    """What a reader sees of some markup."""
    seen = re.sub(r"<(\w+)[^>]* hidden=[^>]*>.*?</\1>", "", markup)
    seen = re.sub(r"<(title|desc)>.*?</\1>", "", seen)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", seen)))


def wide() -> Example:
    rng = np.random.RandomState(0)
    return build(
        "wide",
        [64, 128, 64, 10],
        "relu",
        "softmax_cross_entropy",
        rng.randn(2, 64),
        [3, 5],
        biases="random",
        rate=0.01,
        optimizer=Adam(),
    )


def nasty() -> Example:
    return build(
        NASTY,
        [2, 2, 1],
        "gelu",
        "sigmoid_cross_entropy",
        [0.5, -1],
        [1],
        names=[[NASTY, "<!--"], ["a & b", "--> \u2028"], ["\"'"]],
    )


MADE = EXAMPLES | {"wide": wide, NASTY: nasty}
STEPS = {"wide": 2}


@cache
def made(name: str) -> tuple[Example, list[StepTrace], str]:
    example = MADE[name]()
    traces = list(trace_steps(example, STEPS.get(name, 4)))
    return example, traces, explain_page(example, traces)


@pytest.fixture(params=list(MADE))
def case(request: pytest.FixtureRequest) -> tuple[Example, list[StepTrace], str]:
    return made(request.param)


def looked_up(trace: StepTrace, name: str) -> float:
    """A number by its path in the trace."""
    thing: Any = trace
    for key in name.split("."):
        thing = thing[int(key)] if key.isdigit() else getattr(thing, key)
    return float(thing)


def test_the_page_is_well_formed(case: tuple[Example, list[StepTrace], str]) -> None:
    _, _, text = case
    structure = parsed(text)
    assert sum(tag == "script" for tag, _ in structure.elements) == 2
    drawings = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(drawings) >= len(stages_of(text))
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_the_page_loads_nothing(case: tuple[Example, list[StepTrace], str]) -> None:
    _, _, text = case
    for _, attributes in parsed(text).elements:
        assert "src" not in attributes
        assert attributes.get("href") in (None, "data:,")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(", text)
    assert "default-src 'none'" in text


def test_the_stages_are_in_the_order_of_a_step() -> None:
    layers = {name: list(stages_of(made(name)[2])) for name in ("company", "wide")}
    assert layers["company"] == ["1", "2.1", "2.2", "3", "4", "5.1", "6", "7", "8"]
    wide_stages = ["1", "2.1", "2.2", "2.3", "3", "4", "5.1", "5.2", "6", "7", "8"]
    assert layers["wide"] == wide_stages
    assert "Backward into hidden layer 2" in stages_of(made("wide")[2])["5.1"]


def test_the_data_are_the_traces(case: tuple[Example, list[StepTrace], str]) -> None:
    example, traces, text = case
    data = data_of(text)
    assert data["example"] == example.name
    assert [step["number"] for step in data["steps"]] == [trace.number for trace in traces]
    assert [step["row"] for step in data["steps"]] == [trace.row for trace in traces]
    direct = [n for n in data["quantities"] if hasattr(traces[0], n.partition(".")[0])]
    for step, trace in zip(data["steps"], traces, strict=True):
        values = dict(zip(data["quantities"], step["values"], strict=True))
        assert {n: values[n] for n in direct} == {n: looked_up(trace, n) for n in direct}
    assert {n.split(".")[2] for n in direct if n.startswith("layers")} >= {
        *("inputs", "W", "Z", "A", "error", "slope", "delta", "dW", "new_W", "blame")
    }


def test_what_is_not_shown_is_in_the_sums() -> None:
    _, traces, text = made("wide")
    data = data_of(text)
    for step, trace in zip(data["steps"], traces, strict=True):
        v = dict(zip(data["quantities"], step["values"], strict=True))
        for name in data["quantities"]:
            head, *places = name.split(".")
            if head == "flow_rest":
                k, j = map(int, places)
                terms = [
                    v[f"layers.{k}.inputs.{i}"] * v[n]
                    for n in data["quantities"]
                    if (i := places_of(n, f"layers.{k}.W", j)) is not None
                ]
                total = sum(terms) + v[name] + v[f"layers.{k}.b.{j}"]
                assert total == pytest.approx(trace.layers[k].Z[j], rel=1e-12, abs=1e-12)
            if head == "blame_rest":
                k, j = map(int, places)
                shown = [
                    n for n in data["quantities"] if n.startswith(f"layers.{k + 1}.blame.{j}.")
                ]
                error = trace.layers[k].error
                assert error is not None
                total = sum(v[n] for n in shown) + v[name]
                assert total == pytest.approx(error[j], rel=1e-12, abs=1e-12)
    heads = {name.partition(".")[0] for name in data["quantities"]}
    assert {"flow_rest", "blame_rest"} <= heads


def places_of(name: str, matrix: str, unit: int) -> int | None:
    """The source i of ``matrix.i.unit``."""
    found = re.fullmatch(re.escape(matrix) + rf"\.(\d+)\.{unit}", name)
    return int(found[1]) if found else None


def test_derived_numbers() -> None:
    _, traces, text = made("company")
    data = data_of(text)
    v = dict(zip(data["quantities"], data["steps"][0]["values"], strict=True))
    trace = traces[0]
    assert v["difference.0"] == trace.prediction[0] - trace.target[0]
    assert v["new.0.2"] == trace.new_hidden[0][2]
    assert v["new.1.0"] == trace.new_prediction[0]
    shares = [v[f"share.1.{i}.0"] for i in range(3)]
    assert shares == pytest.approx([100 * w / 1.3 for w in (0.3, 0.2, 0.8)])


def test_what_is_written_is_the_first_step(case: tuple[Example, list[StepTrace], str]) -> None:
    _, _, text = case
    values = data_of(text)["steps"][0]["values"]
    places = re.findall(
        r'<(t?span)(?: class="\w+")? data-n="(\d+)"(?: data-d="(\d+)")?( data-f="")?'
        r'(?: data-word="([^"]*)")?>(.*?)</\1>',
        text,
    )
    assert len(places) == len(re.findall("data-n=", text))
    for _, place, digits, factor, word, written in places:
        value = float(values[int(place)])
        expected = number(value, int(digits or 6))
        expected = f"({expected})" if factor and value < 0 else expected
        assert written == word + expected
    widths = [int(place) for place in re.findall(r'data-w="(\d+)"', text)]
    assert widths
    assert max(widths) < len(values)


def test_all_numbers_of_the_worked_example_are_there() -> None:
    _, _, text = made("step-by-step")
    stages = {key: words_of(markup) for key, markup in stages_of(text).items()}
    assert "z = 2 × 0.11 + 3 × 0.21 = 0.85" in stages["2.1"]
    assert "z = 0.85 × 0.14 + 0.48 × 0.15 = 0.191" in stages["2.2"]
    assert "C = ½ mean((0.191 − 1)²) = 0.32724" in stages["3"]
    assert "a = w5 (w1 i1 + w2 i2) + w6 (w3 i1 + w4 i2)" in stages["3"]
    assert "0.3272405" in stages["3"]
    assert "δ = 0.191 − 1 = −0.809" in stages["4"]
    assert "Σ w δ = 0.14 × (−0.809) = −0.11326" in stages["5.1"]
    assert "i2 × δ(h2) = 3 × (−0.12135)" in stages["6"]
    for gradient in ["0.22652", "0.33978", "0.2427", "0.36405", "0.68765", "0.38832"]:
        assert f"−{gradient}" in stages["6"]
    assert "0.11 − 0.05 × (−0.22652)" in stages["7"]
    for new in ["0.121326", "0.226989", "0.132135", "0.0982025", "0.1743825", "0.169416"]:
        assert new in stages["7"]
    for value in ["0.923619", "0.5588775", "0.255745780807", "0.276957171393"]:
        assert value in stages["8"]
    assert "The loss fell from 0.32724 to 0.276957." in stages["8"]


def test_the_blame_of_the_company() -> None:
    words = words_of(stages_of(made("company")[2])["5.1"])
    assert "Σ w δ = 0.8 × (−0.143209) = −0.114567" in words
    assert "f′(z) = a (1 − a) = 0.222455" in words
    assert "δ = 0.222455 × (−0.114567) = −0.025486" in words
    assert "61.5 %" in words


def test_names_are_text() -> None:
    _, _, text = made(NASTY)
    structure = parsed(text)
    assert not any(tag == "b" and not attributes for tag, attributes in structure.elements)
    seen = [data for tag, data in structure.texts if tag not in ("script", "style")]
    assert any(NASTY in data for data in seen)
    assert "a & b" in seen


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_only_the_company_speaks_of_people(name: str) -> None:
    _, _, text = made(name)
    asides = re.findall(r'<p class="aside">(.*?)</p>', text)
    assert len(asides) == (8 if name == "company" else 0)
    if name == "company":
        assert "sales A and sales B report to the marketing manager" in asides[0]
        assert "from the CEO to the marketing manager" in asides[5]


OPTIMIZERS = [SGD(0.0, nesterov=False), *solver_cases.OPTIMIZERS.values()]


@pytest.mark.parametrize(("loss", "optimizer"), list(product(LOSSES, OPTIMIZERS)), ids=str)
def test_every_activation_loss_and_optimizer(loss: str, optimizer: Any) -> None:
    for n, activation in enumerate(sorted(ACTIVATIONS)):
        example = build(
            "any",
            [1, 1, 2],
            activation,
            loss,
            [[0.5], [2]],
            [1, 0] if LOSSES[loss].targets == "index" else [[1, 0], [0, 1]],
            biases="random" if n % 2 else None,
            optimizer=optimizer,
        )
        stages = stages_of(explain_page(example, list(trace_steps(example, 1))))
        stages = {key: words_of(stages[key]) for key in ("2.1", "4", "6", "7")}
        if activation not in ("identity", "logistic", "relu", "leaky_relu"):
            assert f"a = {activation}(z)" in stages["2.1"]
        assert ("bias" in stages["6"]) == example.network.bias
        halves = "(prediction − target) / 2" in stages["4"]
        assert halves == (loss == "squared_error") or loss == "huber"
        plain = optimizer == OPTIMIZERS[0]
        assert ("new w = w − rate × dC/dw" in stages["7"]) == plain
        assert ("new w = w − step" in stages["7"]) == (not plain)
        for line in formula_of(optimizer):
            assert (line in stages["7"]) == (not plain)


def test_an_update_with_a_penalty_is_not_told_as_plain() -> None:
    example = replace(EXAMPLES["step-by-step"](), alpha=0.1)
    text = explain_page(example, list(trace_steps(example, 1)))
    words = words_of(stages_of(text)["7"])
    assert "new w = w − step" in words
    assert "penalty on large weights (alpha 0.1)" in words
    values = dict(
        zip(data_of(text)["quantities"], data_of(text)["steps"][0]["values"], strict=True)
    )
    assert values["move.0.0.0"] == pytest.approx(0.05 * (-0.22652 + 0.1 * 0.11))


def test_a_new_activation_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "brand_new", ACTIVATIONS["tanh"])
    example = build("new", [2, 2, 1], "brand_new", "squared_error", [1, 2], [1])
    words = words_of(explain_page(example, list(trace_steps(example, 1))))
    assert "a = brand_new(z) = " in words


def test_a_loss_with_another_delta_is_not_told_as_a_difference() -> None:
    example, traces, _ = made("step-by-step")
    last = replace(traces[0].layers[-1], delta=traces[0].layers[-1].delta * 3)
    other = replace(traces[0], layers=(*traces[0].layers[:-1], last))
    words = words_of(stages_of(explain_page(example, [other]))["4"])
    assert "prediction − target" not in words
    assert "δ = −2.427" in words


def test_one_layer_needs_no_way_back() -> None:
    example = build("flat", [3, 2], [], "squared_error", [1, 2, 3], [[1, 0]])
    text = explain_page(example, list(trace_steps(example, 1)))
    assert list(stages_of(text)) == ["1", "2.1", "3", "4", "6", "7", "8"]


@pytest.mark.parametrize(
    ("rate", "result"),
    [(0.05, "The loss fell"), (3.0, "The loss rose"), (0.0, "The loss stayed")],
)
def test_the_page_says_how_the_loss_changed(rate: float, result: str) -> None:
    example = replace(EXAMPLES["step-by-step"](), rate=rate)
    words = words_of(stages_of(explain_page(example, list(trace_steps(example, 1))))["8"])
    assert [v for v in ("fell", "rose", "stayed", "finite") if f"The loss {v}" in words] == [
        result.split()[-1]
    ]


def blown_up(traces: Sequence[StepTrace], value: float) -> list[StepTrace]:
    """The traces with a last one in which training has left the range of numbers."""
    last = traces[-1]
    layer = replace(last.layers[-1], A=np.full(1, value), Z=np.full(1, value))
    return [
        *traces[:-1],
        replace(last, new_loss=value, new_prediction=layer.A, layers=(*last.layers[:-1], layer)),
    ]


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_training_that_blew_up(value: float, text: str) -> None:
    example, traces, _ = made("step-by-step")
    shown = explain_page(example, blown_up(traces, value))
    data = data_of(shown)
    last = dict(zip(data["quantities"], data["steps"][-1]["values"], strict=True))
    assert last["new_loss"] == text
    assert data["steps"][-1]["outcome"] == "lost"
    assert data["steps"][-1]["curves"] == [None, None]
    alone = words_of(stages_of(explain_page(example, blown_up(traces, value)[-1:]))["8"])
    assert "not a finite number any more" in alone


def test_a_wide_model_stays_small() -> None:
    example = wide()
    traces = list(trace_steps(example, 50))
    text = explain_page(example, traces)
    assert len(text.encode()) < 2_000_000
    assert len(data_of(text)["steps"]) == 50
    shown = shown_units(traces)
    assert [len(s.units) for s in shown] == [6, 6, 6, 6]
    assert [len(s.units) + len(s.rest) for s in shown] == list(example.network.sizes)
    assert 3 in shown[-1].units  # what it learns
    assert "42 of 8320" in text


def test_the_largest_units_are_shown() -> None:
    example = build("one", [20, 1], [], "squared_error", [[0.0] * 20], [1], weights=[[[1.0]] * 20])
    example.X[0, [3, 7, 8, 11, 12, 19]] = [1, -9, 2, 3, 4, 5]
    assert shown_units(list(trace_steps(example, 1)))[0].units == (3, 7, 8, 11, 12, 19)


def test_few_of_many_steps_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept_steps(50, 900) == list(range(50))
    assert kept_steps(1, 10**9) == [0]
    places = kept_steps(100_000, 1000)
    assert places[:20] == list(range(20))
    assert places[-1] == 99_999
    assert len(places) <= 45
    assert places == sorted(set(places))
    monkeypatch.setattr(explain_quantities, "MOST_NUMBERS", 600)
    example, traces, _ = made("xor")
    many = [replace(traces[k % 4], number=k + 1) for k in range(3000)]
    text = explain_page(example, many)
    numbers = [step["number"] for step in data_of(text)["steps"]]
    assert numbers[0] == 1
    assert numbers[-1] == 3000
    assert f"Of 3000 steps, the numbers of {len(numbers)} are kept here." in text
    paths = re.findall(r'<path d="([^"]*)" class="curve">', text)
    assert [path.count("L") for path in paths] == [1000, 1000]


def test_weights_are_named_as_in_the_trace() -> None:
    network = Network((3, 5, 4, 2), ("relu", "tanh"))
    for p in parameters_of(network):
        if p.source is None:
            assert bias_name(network.sizes, p.layer, p.unit) == p.name
        else:
            assert weight_name(network.sizes, p.layer, p.source, p.unit) == p.name


def texts_of(drawing: ElementTree.Element) -> list[tuple[str, Box]]:
    """The texts of a drawing that are seen, and the room that each takes up."""
    found = []
    for child in drawing:
        if child.get("hidden") is not None:
            continue
        found += texts_of(child)
        if child.tag == "text":
            text = "".join(child.itertext())
            x, y, half = float(child.attrib["x"]), float(child.attrib["y"]), text_width(text) / 2
            found.append((text, Box(x - half, y - 9, x + half, y + 2.5)))
    return found


def test_no_text_touches_another(case: tuple[Example, list[StepTrace], str]) -> None:
    _, _, text = case
    for markup in stages_of(text).values():
        for found in re.findall(r"<svg.*?</svg>", markup.partition("<h2>Over")[0], re.S):
            drawing = ElementTree.fromstring(found)
            _, _, width, height = map(float, drawing.attrib["viewBox"].split())
            texts = texts_of(drawing)
            for (a, box), (b, other) in combinations(texts, 2):
                assert is_free(box, [other]), (a, b)
            assert all(x0 >= 0 and x1 <= width and y0 >= 0 for _, (x0, y0, x1, _) in texts)
            assert all(box.y1 <= height for _, box in texts)


def test_the_curves_go_through_the_steps() -> None:
    _, _, text = made("step-by-step")
    segments = [step["curves"][0] for step in data_of(text)["steps"]]
    assert all(a[2:] == b[:2] for a, b in pairwise(segments))
    assert all(y2 > y1 for _, y1, _, y2 in segments)  # downhill, as y grows downward
    curve, goal = (re.findall(rf'<path d="([^"]*)" class="{c}">', text) for c in ("curve", "goal"))
    assert curve[0].count("M") == 1
    assert curve[0].count("L") == 4
    assert goal[0] == ""
    assert goal[1].startswith("M58.0 ")
    assert re.search(r"L350\.0 [\d.]+$", goal[1])
    several = re.findall(r'<path d="([^"]*)" class="curve">', made("xor")[2])
    assert several[0].count("M") == 4


def test_labels_find_room_or_stay_away() -> None:
    crossing = [Ends(0, 0, 100, 100), Ends(0, 100, 100, 0)]
    places = place_labels(crossing, [40, 40], [])
    assert places is not None
    (x, y), (u, v) = places
    assert abs(x - u) >= 40 or abs(y - v) >= 14
    assert place_labels([Ends(0, 0, 100, 0)] * 9, [90] * 9, []) is None
    near = place_labels([Ends(0, 0, 100, 0)], [10], [], far=False)
    far = place_labels([Ends(0, 0, 100, 0)], [10], [], far=True)
    assert near is not None
    assert far is not None
    assert near[0][0] < 50 < far[0][0]


def test_long_names_are_wrapped_and_cut() -> None:
    assert name_lines("marketing manager", 80) == ["marketing", "manager"]
    assert name_lines("h1", 80) == ["h1"]
    lines = name_lines("a very long name that nobody could read in one go", 80)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert all(text_width(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.191, 6, "0.191"),
        (-0.809, 12, "−0.809"),
        (-0.0, 6, "0"),
        (1234567.0, 6, "1.23457e6"),
        (-1.5e-7, 6, "−1.5e−7"),
        (0.276957171392918, 12, "0.276957171393"),
        (math.nan, 6, "NaN"),
        (-math.inf, 6, "−∞"),
    ],
)
def test_numbers_are_written_for_people(value: float, digits: int, text: str) -> None:
    assert number(value, digits) == text


def test_a_page_escapes_its_title_and_its_data() -> None:
    thing = {"name": f"{NASTY}<!--\u2028", "value": 0.1 + 0.2}
    text = page(NASTY, json_script("trace", thing), script="let x = 1 < 2;")
    structure = parsed(text)
    assert ("title", NASTY) in structure.texts
    assert data_of(text) == thing
    with pytest.raises(ValueError, match="JSON"):
        json_script("trace", math.nan)
