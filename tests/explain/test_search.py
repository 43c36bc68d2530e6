from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpubp.explain.search.comparison
import gpubp.explain.search.methods
from gpubp.__main__ import main
from gpubp.backends.protocol import Backend
from gpubp.backends.select import get_backend
from gpubp.explain.example import Example, build
from gpubp.explain.examples import EXAMPLES, example_by_name, two_weights
from gpubp.explain.loss_landscape import losses_of
from gpubp.explain.parameters import parameters_of
from gpubp.explain.search.backpropagation import backpropagation
from gpubp.explain.search.comparison import (
    Comparison,
    Settings,
    compare,
    extrapolate,
    values_within,
)
from gpubp.explain.search.methods import (
    Budget,
    Population,
    Run,
    all_combinations,
    digits_of,
    one_at_a_time,
    places_of,
    random_search,
    uniform,
    weights_of,
)
from gpubp.explain.search.page import search_page
from gpubp.explain.search.text import human_time, sentences, text_lines
from gpubp.explain.trace import trace_steps

FLOAT64 = np.dtype(np.float64)
OPTIMUM = np.array([1.53, -2.27])


def bowl() -> Example:
    """Two weights that do not interact: cost 1/4 |w - optimum|^2."""
    X, Y = np.eye(2), OPTIMUM[:, None]
    return build("bowl", [2, 1], "identity", "squared_error", X, Y, weights=[[[0.0], [0.0]]])


def classes() -> Example:
    """Three classes from two inputs."""
    X = np.random.RandomState(1).normal(size=(6, 2))
    return build(
        "classes",
        [2, 4, 3],
        "relu",
        "softmax_cross_entropy",
        X,
        [0, 1, 2, 2, 1, 0],
        biases="random",
    )


def population_of(example: Example, size: int = 64) -> Population:
    return Population(get_backend("cpu"), example, size, FLOAT64)


def run_of(evaluations: int | None = None, seconds: float | None = None) -> Run:
    return Run("random", "cpu", Budget(evaluations, seconds))


@pytest.fixture(scope="module")
def default() -> Comparison:
    return compare(two_weights(), Settings(Budget(evaluations=100_000), device="cpu"))


# The searches


@pytest.mark.parametrize("size", [7, 64, 1000])  # less than the values of a weight, and more
def test_one_weight_at_a_time_finds_the_best_values_of_weights_that_do_not_interact(
    size: int,
) -> None:
    values, run = np.linspace(-5, 5, 101), run_of(10_000)
    one_at_a_time(run, population_of(bowl(), size), np.array([4.0, 4.0]), values)
    assert_allclose(run.weights, [1.5, -2.3])
    assert_allclose(run.cost, (0.03**2 + 0.03**2) / 4)
    # The start; a sweep that sets both weights; one that finds nothing to change.
    assert (run.stopped_by, run.sweeps, run.evaluations) == ("stalled", 2, 1 + 2 * 2 * 101)


def test_all_combinations_find_the_best_point_of_the_grid() -> None:
    run = run_of(10_201)
    all_combinations(run, population_of(bowl()), np.linspace(-5, 5, 101))
    assert_allclose(run.weights, [1.5, -2.3])
    assert (run.stopped_by, run.evaluations, run.combinations) == ("all_seen", 10_201, 10_201)


def test_random_search_comes_near_the_optimum() -> None:
    run = run_of(20_000)
    random_search(run, population_of(bowl()), -5.0, 5.0, seed=0)
    assert run.weights is not None
    # The nearest of 20,000 points in a square of 100 is at about 1/2 sqrt(100 / 20,000) = 0.035.
    assert 0 < np.linalg.norm(run.weights - OPTIMUM) < 0.1
    assert_allclose(run.cost, ((run.weights - OPTIMUM) ** 2).sum() / 4)


def _seen(monkeypatch: pytest.MonkeyPatch, search: Callable[[Run], None], run: Run) -> np.ndarray:
    """The candidates that a search evaluates, in their order."""
    seen, evaluate = [], Run.evaluate

    def watched(self: Run, population: Population, count: int) -> None:
        seen.append(population.theta[:count, population.places].copy())
        evaluate(self, population, count)

    monkeypatch.setattr(Run, "evaluate", watched)
    search(run)
    return np.concatenate(seen)


@pytest.mark.parametrize("size", [1, 5, 27, 64])
def test_each_combination_is_seen_once_in_the_order_of_the_text(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    example = build("three", [3, 1], "identity", "squared_error", [[1, 2, 3]], [1])
    population, values = population_of(example, size), np.array([1.0, 2.0, 3.0])
    seen = _seen(monkeypatch, lambda run: all_combinations(run, population, values), run_of(100))
    assert_array_equal(seen, list(product(values, repeat=3)))


def test_a_budget_ends_the_grid_early_and_no_grid_is_too_large_to_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example = build("wide", [6, 5, 2], "tanh", "squared_error", [[1] * 6], [[0, 0]])  # 40 weights
    population, values, run = population_of(example, 10), np.arange(1000.0), run_of(1003)
    seen = _seen(monkeypatch, lambda run: all_combinations(run, population, values), run)
    assert (run.stopped_by, run.evaluations, run.combinations) == ("budget", 1003, 1000**40)
    assert_array_equal(seen[:, -1], [*range(1000), 0, 1, 2])
    assert_array_equal(seen[:, -2], [0] * 1000 + [1] * 3)
    assert not seen[:, :-2].any()


def test_digits_are_those_of_the_number() -> None:
    digits = digits_of(np.array([0, 7, 123]), 10, 3)
    assert_array_equal(np.stack(digits, axis=1), [[0, 0, 0], [0, 0, 7], [1, 2, 3]])


def test_random_search_is_the_same_by_seed_whatever_the_population(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def candidates(seed: int, size: int) -> np.ndarray:
        with monkeypatch.context() as patch:
            population = population_of(bowl(), size)
            return _seen(
                patch, lambda run: random_search(run, population, -2, 3, seed), run_of(500)
            )

    first = candidates(0, 64)
    assert_array_equal(candidates(0, 64), first)
    assert_array_equal(candidates(0, 333), first)
    assert not np.isin(candidates(1, 64), first).any()
    assert first.shape == (500, 2)
    assert -2 <= first.min() < -1.9 < 2.9 < first.max() < 3


def test_hashed_numbers_are_uniform_and_known() -> None:
    draws = uniform(np.arange(1, 100_001, dtype=np.uint64))
    counts = np.histogram(draws, bins=100, range=(0, 1))[0]
    # chi^2 with 99 degrees of freedom: mean 99, standard deviation 14.
    assert 40 < ((counts - 1000) ** 2 / 1000).sum() < 170
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.02
    # The first two outputs of splitmix64 from the seed 0, as in its reference implementation.
    assert_array_equal(
        (draws[:2] * 2**53).astype(np.uint64),
        np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4], np.uint64) >> np.uint64(11),
    )


# What a candidate costs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["step-by-step", "company", "xor", "two-weights", "classes"])
def test_a_population_has_the_costs_of_its_networks_one_by_one(
    backend: Backend, name: str, dtype: Any
) -> None:
    example = classes() if name == "classes" else example_by_name(name)
    network = example.network
    population = Population(backend, example, 9, np.dtype(dtype))
    rng = np.random.RandomState(0)
    for _ in range(2):  # the second time in the same arrays
        weights = rng.normal(size=(9, network.n_parameters))
        population.fill(backend.asarray(weights))
        costs = backend.to_numpy(population.costs())
        theta = np.repeat(example.theta[None], 9, axis=0)
        theta[:, [p.place for p in parameters_of(example.network)]] = weights
        thetas = [network.pack(*network.unpack(t), np.dtype(dtype)) for t in theta]
        each = [losses_of(example, t[None])[0] for t in thetas]
        assert_allclose(costs, each, rtol=1e-12 if dtype == np.float64 else 1e-5, atol=1e-7)
        assert_allclose(population.weights(4), weights[4], rtol=1e-6)


def test_a_cost_that_is_no_number_never_wins() -> None:
    population = population_of(bowl(), 3)
    population.fill(np.array([[np.nan, 0], [np.inf, 0], [1.0, 1.0]]))
    costs = population.costs()
    assert_array_equal(np.isinf(costs), [True, True, False])
    run = run_of(3)
    run.evaluate(population, 3)
    assert_array_equal(run.weights, [1, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_places_are_those_of_the_weights_in_theta_of_each_dtype(dtype: Any) -> None:
    example = EXAMPLES["xor"]()
    network = example.network
    theta = network.pack(*network.unpack(example.theta), np.dtype(dtype))
    assert_allclose(theta[places_of(network, np.dtype(dtype))], weights_of(example), rtol=1e-6)
    assert len(set(places_of(network, np.dtype(dtype)))) == network.n_parameters == 13


def test_backpropagation_costs_what_the_trace_says() -> None:
    example, run = EXAMPLES["step-by-step"](), run_of(31)
    backpropagation(
        run,
        get_backend("cpu"),
        example,
        weights_of(example),
        FLOAT64,
        {"random": 0.01, "combinations": 1},
    )
    losses = [trace.loss for trace in trace_steps(example, 31)]
    assert_allclose([p.cost for p in run.curve], losses, rtol=1e-10)
    assert [p.evaluations for p in run.curve] == list(range(1, 32))
    # The cost is 0.277 after one step, and 0.00277 after ten: `../shared/seeds.md`.
    steps = next(k for k, loss in enumerate(losses) if loss <= 0.01)
    assert {method: reached[0] for method, reached in run.reached.items()} == {
        "random": steps,
        "combinations": 0,
    }


def test_backpropagation_that_diverges_says_so() -> None:
    example, run = replace(two_weights(), rate=1e6), run_of(10_000)
    backpropagation(run, get_backend("cpu"), replace(bowl(), rate=1e6), OPTIMUM + 1, FLOAT64)
    assert run.stopped_by == "diverged"
    assert run.evaluations < 200
    assert_allclose(run.cost, 0.5)
    assert example.rate == 1e6


# The comparison


def test_one_weight_at_a_time_really_stalls_where_two_weights_interact(default: Comparison) -> None:
    one, backprop, escape = default.run("one_at_a_time"), default.run("backprop"), default.escape
    assert one is not None
    assert one.weights is not None
    assert backprop is not None
    assert escape is not None
    assert one.stopped_by == "stalled"
    example, settings = default.example, default.settings
    for place, weight in zip(
        [p.place for p in parameters_of(example.network)], (0, 1), strict=True
    ):
        thetas = np.repeat(example.theta[None], settings.values, axis=0)
        thetas[:, [p.place for p in parameters_of(example.network)]] = one.weights
        thetas[:, place] = np.linspace(settings.low, settings.high, settings.values)
        assert losses_of(example, thetas).min() > one.cost * (1 - 1e-4), f"weight {weight}"
    # Nor is it the distance between the values: finer ones gain little.
    assert 0.9 * one.cost < default.finer < one.cost
    assert backprop.cost < 1e-9 < 1e-5 < one.cost
    assert escape.cost < 1e-9
    steps, _ = backprop.reached["one_at_a_time"]
    assert steps < 200 < one.evaluations
    assert any("The weights interact" in sentence for sentence in sentences(default))


def test_a_stall_at_the_fineness_of_the_grid_is_not_blamed_on_the_weights() -> None:
    settings = Settings(Budget(evaluations=20_000), device="cpu", dtype="float64")
    text = next(sentences(compare(EXAMPLES["step-by-step"](), settings)))
    assert "too far apart" in text
    assert "interact" not in text


@pytest.mark.parametrize("most", [1, 999, 3000])
def test_a_budget_of_evaluations_is_kept_to_the_last(most: int) -> None:
    comparison = compare(EXAMPLES["xor"](), Settings(Budget(evaluations=most), device="cpu"))
    assert [run.method for run in comparison.runs] == [
        "one_at_a_time",
        "combinations",
        "random",
        "backprop",
    ]
    for run in comparison.runs:
        assert run.evaluations == most if run.stopped_by == "budget" else run.evaluations < most
    assert {run.stopped_by for run in comparison.runs} <= {"budget", "all_seen"}


def test_a_budget_of_seconds_is_kept_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    time = iter(np.arange(0.0, 1e6, 0.03))
    monkeypatch.setattr(gpubp.explain.search.methods, "perf_counter", lambda: float(next(time)))
    comparison = compare(EXAMPLES["xor"](), Settings(Budget(seconds=1.0), device="cpu"))
    for run in comparison.runs:
        assert run.stopped_by == "budget" or run.seconds < 1.0
        assert run.seconds < 1.1  # a population more than 1 s allows, at most
    assert comparison.runs[2].seconds > 0.9


@pytest.mark.parametrize(
    ("text", "budget"),
    [("1e6", Budget(10**6, None)), ("42", Budget(42, None)), (" 2.5s", Budget(None, 2.5))],
)
def test_a_budget_is_read(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    ("evaluations", "n", "values"),
    [(10**6, 2, 1000), (10**6 - 1, 2, 999), (10**15, 1, 1000), (10**6, 6, 10), (5, 43, 2)],
)
def test_the_grid_is_as_fine_as_the_budget_allows(evaluations: int, n: int, values: int) -> None:
    assert values_within(evaluations, n, 1000) == values


def test_curves_fall_and_end_with_the_best(default: Comparison) -> None:
    for run in default.runs:
        assert run.curve[-1].cost == run.cost
        assert run.curve[-1].evaluations <= run.evaluations
        for before, after in pairwise(run.curve):
            assert before.cost > after.cost
            assert before.evaluations < after.evaluations
            assert before.seconds <= after.seconds


def test_an_interrupt_keeps_what_was_found() -> None:
    class Interrupter:
        def progress(self, run: Run) -> None:
            if run.method == "random":
                raise KeyboardInterrupt

        def finished(self, run: Run) -> None:
            finished.append(run.method)

    finished: list[str] = []
    settings = Settings(Budget(seconds=0.3), device="cpu")
    comparison = compare(two_weights(), settings, Interrupter())
    assert comparison.interrupted
    assert finished == ["one_at_a_time", "combinations", "random"]
    last = comparison.runs[-1]
    assert (last.method, last.stopped_by) == ("random", "interrupt")
    assert last.evaluations > 0
    assert math.isfinite(last.cost)
    assert "random search" in "\n".join(line for _, line in text_lines(comparison))
    assert "random search" in search_page(comparison)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (1, "1 us"),
        (2, "1 ms"),
        (3, "1 s"),
        (4, "16.67 min"),
        (5, "11.57 days"),
        (6, "31.7 years"),
        (7, "31,700 years"),
    ],
)
def test_the_extrapolation_gives_the_figures_of_the_text(weights: int, text: str) -> None:
    row = extrapolate(2e6)[weights - 1]
    assert (row.weights, row.combinations) == (weights, 1000**weights)
    assert human_time(row.text_seconds) == text
    assert row.text_seconds == 1000**weights / 10**9
    assert row.seconds == 1000**weights / 2e6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3e-7, "0.3 us"), (7200, "2 h"), (3.2e13, "1.01 million years"), (1e18, "31.7 billion years")],
)
def test_times_are_in_human_units(seconds: float, text: str) -> None:
    assert human_time(seconds) == text


# The command


def test_the_command_prints_a_report_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--budget", "40000", "--device", "cpu", "--dtype", "float64"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line[:20].strip(): line.split() for line in lines if line[20:].strip()}
    assert rows["one weight at a time"][-1] == "stalled"
    assert rows["random search"][2] == "40,000"
    assert "16.67 min" in out
    assert "One weight at a time stalled at cost 0.000309 after 15 sweeps" in out


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--budget", "1500", "--json", "--example", "xor"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    methods = [event for event in events if event["event"] == "method"]
    assert [m["method"] for m in methods] == ["one_at_a_time", "combinations", "random", "backprop"]
    assert all(len(m["weights"]) == 13 and m["curve"][-1][2] == m["cost"] for m in methods)
    result = events[-1]
    assert result["event"] == "result"
    assert result["costs"] == {m["method"]: m["cost"] for m in methods}
    assert [e["weights"] for e in result["extrapolation"]] == list(range(1, 8))


@pytest.mark.parametrize("output", ["text", "json"])
def test_ctrl_c_shows_what_was_found(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    output: str,
) -> None:
    search = gpubp.explain.search.comparison.random_search

    def interrupted(run: Run, *rest: Any) -> None:
        search(replace_budget(run, 500), *rest)
        raise KeyboardInterrupt

    def replace_budget(run: Run, most: int) -> Run:
        run.budget, run.stopped_by = Budget(most), "interrupt"
        return run

    monkeypatch.setattr(gpubp.explain.search.comparison, "random_search", interrupted)
    options = ["--json"] if output == "json" else []
    html = tmp_path / "page.html"
    assert main(["search", "--budget", "1500", "--html", str(html), *options]) == 130
    out = capsys.readouterr().out
    assert "random" in out
    assert "backpropagation  " not in out
    assert "random search" in html.read_text(encoding="utf-8")
    if output == "json":
        assert json.loads(out.splitlines()[-1])["interrupted"] is True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget", "soon"], "such as 5s"),
        (["--budget", "1.5"], "got '1.5'"),
        (["--budget", "0s"], "above 0"),
        (["--budget", "nan"], "got 'nan'"),
        (["--range", "5", "-5"], "5.0 to -5.0"),
        (["--range", "nan", "1"], "nan to 1.0"),
        (["--values", "1"], "--values"),
        (["--example", "nothing"], "'nothing'"),
        (["--example", "missing.toml"], "missing.toml cannot be read"),
        (["--html", "nowhere/page.html"], "nowhere' does not exist"),
        (["--device", "gpu"], "cuda:N"),
    ],
)
def test_bad_input_gets_one_line_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    monkeypatch.setattr(
        gpubp.explain.search.comparison, "compare", lambda *_: pytest.fail("the search began")
    )
    assert main(["search", *options]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert words in err


# The page


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.paths: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.paths += [values["d"] or ""] if tag == "path" else []
        self.links += [str(v) for k, v in attrs if k in ("src", "href")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(("name", "figures"), [("two-weights", 3), ("step-by-step", 2)])
def test_the_page_is_whole_and_draws_every_curve(name: str, figures: int) -> None:
    settings = Settings(Budget(evaluations=2000), device="cpu", dtype="float64")
    text = search_page(compare(example_by_name(name), settings))
    page = _Page(text)
    assert page.open == []
    assert page.tags.count("figure") == figures
    assert page.links == ["data:,"]
    assert text.count('class="curve series-') == 4 + 2 * 4 + 2 * (figures - 2)
    assert not any("nan" in path or "inf" in path for path in page.paths)
    assert "prefers-color-scheme: dark" in text
    assert "16.67 min" in text


def test_a_name_is_text_and_a_cost_of_0_can_be_drawn() -> None:
    example = replace(bowl(), name="<b>&")
    settings = Settings(Budget(evaluations=2000), device="cpu", dtype="float64")
    comparison = compare(replace(example, Y=np.zeros((2, 1))), settings)
    assert comparison.runs[-1].cost == 0  # it begins there
    text = search_page(comparison)
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;" in text
    assert _Page(text).open == []
