"""The reports of a sweep: table, importances, live view, files, and the page."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gpubp.reports.axis import Scale, round_numbers
from gpubp.reports.sweep import live
from gpubp.reports.sweep.figure import best_by_time, best_trials, score_chart, score_scale
from gpubp.reports.sweep.files import sweep_values, trial_values, write_trials
from gpubp.reports.sweep.live import JsonSweepView, TextSweepView
from gpubp.reports.sweep.page import sweep_page
from gpubp.reports.sweep.text import (
    best_rows,
    counts_text,
    score_text,
    sweep_lines,
    table_lines,
    time_text,
    value_text,
)
from gpubp.reports.terminal import to_json
from gpubp.selection.trials import FEWEST_TRIALS, Sweep, importances
from tests.reports.pages import main_of, page_of
from tests.reports.sweeps import made

PHONE = 400 - 2 * 16 - 2 * 13  # pixels of a drawing in its figure, on a screen of 400


def test_the_importance_is_that_of_the_scores() -> None:
    shares = importances(made(300))
    assert next(iter(shares)) == "learning_rate_init"
    assert 0.6 < shares["learning_rate_init"] <= 1
    assert 0.0 < shares["hidden_layer_sizes"] < 0.3
    assert max(shares["dropout"], shares["batch_size"]) < 0.1
    assert "solver" not in shares  # it has one value


def test_noise_has_no_importance_however_many_values_there_are() -> None:
    rng, found = np.random.RandomState(0), []
    for seed in range(40):
        sweep = made(40, seed)
        trials = [replace(trial, mean=rng.normal()) for trial in sweep.trials]
        found.append(list(importances(replace(sweep, trials=trials)).values()))
    assert np.mean(found) < 0.05


def test_importances_worked_by_hand() -> None:
    """Ranks 1 to 20 in two groups of ten: SST = 665, SSB = 500, SSW = 165, MSW = 165 / 18."""
    sweep = made(20, space={"solver": ["adam", "sgd"]})
    trials = [
        replace(t, mean=float(k), params={"solver": "sgd" if k < 10 else "adam"})
        for k, t in enumerate(sweep.trials)
    ]
    shares = importances(replace(sweep, trials=trials))
    assert shares == {"solver": pytest.approx((500 - 165 / 18) / 665)}


def test_importances_without_differences_or_with_few_trials() -> None:
    sweep = made(FEWEST_TRIALS)
    equal = [replace(trial, mean=0.5) for trial in sweep.trials]
    assert set(importances(replace(sweep, trials=equal)).values()) == {0.0}
    assert importances(made(FEWEST_TRIALS)) == {}  # one failed
    lines = list(sweep_lines(made(5)))
    assert not any("share" in line for line in lines)


def test_values_and_scores_as_text() -> None:
    values = [(128, 64), (), None, True, 0.012345678, 3, "auto", (0.1, 0.2)]
    texts = ["128-64", "none", "none", "true", "0.01235", "3", "auto", "0.1-0.2"]
    assert list(map(value_text, values)) == texts
    assert list(map(score_text, [0.5, -1e-7, 12345.678, float("nan"), 0.0])) == [
        *("0.5000", "-1e-07", "1.235e+04", "failed", "0.0000")
    ]
    assert [time_text(s) for s in (0.1234, 59.9, 60, 7322)] == [
        *("0.123 s", "59.9 s", "0:01:00", "2:02:02")
    ]


def test_the_table_fits_the_terminal() -> None:
    rows = best_rows(made().ranked[:5], list(made().space), "accuracy")
    whole = table_lines(rows)
    assert len({len(line) for line in whole}) == 1
    narrow = table_lines(rows, 80)
    assert max(map(len, narrow[:-1])) <= 80
    assert narrow[-1] == "not shown: dropout, batch_size, solver"


def test_counts() -> None:
    sweep = made(resumed=7, stopped_by="time_limit", total=100)
    assert counts_text(sweep) == (
        "60 of 100 trials (random, seed 0), 3 folds each, in 0:01:01; 7 from the journal; 1 "
        "failed; time limit reached"
    )


def shown(metric: str = "accuracy", **terminal: Any) -> tuple[TextSweepView, io.StringIO]:
    view, out = TextSweepView(metric, quiet=False), io.StringIO()
    view._console = Console(file=out, width=100, **terminal)
    return view, out


def test_a_live_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live, "monotonic", lambda: now[0])
    view, out = shown(force_terminal=True)
    view.begin(10, 3)
    view.trial({"alpha": 0.5}, 0.8, resumed=True)
    now[0] = 3.0
    for k in range(7):
        view.trial({"alpha": k / 10}, 0.5 + k / 100)
    view.trial({"alpha": 9.0}, float("nan"))
    console = Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(view._rendered())
    view.close()
    assert out.getvalue()
    first, heads, *rows = captured.get().splitlines()
    # 8 of them took 3 s.
    assert first.strip() == "9/10 trials, 3 s elapsed, about 0.375 s left"
    assert heads.split() == ["accuracy", "alpha"]
    assert [row.split() for row in rows] == [
        *(["1", "0.8000", "0.5"], ["2", "0.5600", "0.6"], ["3", "0.5500", "0.5"]),
        *(["4", "0.5400", "0.4"], ["5", "0.5300", "0.3"]),
    ]


def test_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live, "monotonic", lambda: now[0])
    view, out = shown()
    view.begin(5, 3)
    for score in (0.5, 0.4, 0.6, float("nan"), 0.3):
        now[0] += 0.5
        view.trial({"alpha": 1e-3, "tol": 0}, score)
    view.close()
    assert out.getvalue().splitlines() == [
        "5 trials, 3 folds each",
        "1/5 trials, 0.5 s elapsed, about 2 s left  accuracy 0.5000  best: alpha 0.001, tol 0",
        "3/5 trials, 1.5 s elapsed, about 1 s left  accuracy 0.6000  best: alpha 0.001, tol 0",
        "5/5 trials, 2.5 s elapsed, about 0 s left  accuracy 0.3000: alpha 0.001, tol 0",
    ]
    quiet = TextSweepView("accuracy", quiet=True)
    quiet._console = Console(file=out, force_terminal=True)
    before = out.getvalue()
    quiet.begin(1, 3)
    quiet.trial({}, 1.0)
    quiet.close()
    assert out.getvalue() == before


def test_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    view = JsonSweepView("accuracy", quiet=False)
    view.begin(2, 3)
    view.trial({"hidden_layer_sizes": (4,)}, float("nan"))
    view.trial({"hidden_layer_sizes": (4, 2)}, 0.5)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["score"], first["best"], first["finished"]) == (None, None, 1)
    assert (second["score"], second["best"], second["finished"]) == (0.5, 0.5, 2)
    assert second["parameters"] == {"hidden_layer_sizes": [4, 2]}


def test_files() -> None:
    out = io.StringIO()
    write_trials(made(5), out)
    heads, *rows = (line.split(",") for line in out.getvalue().splitlines())
    assert heads == [
        *("trial", "rank", "score", "std", "score_1", "score_2", "score_3", "seconds"),
        *("hidden_layer_sizes", "learning_rate_init", "dropout", "batch_size", "solver"),
    ]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[2][2:3] + rows[2][4:7] == [""] * 4  # failed
    trial = made(5).trials[0]
    assert float(rows[0][2]) == trial.mean
    assert json.loads(to_json(trial_values(trial)))["parameters"]["batch_size"] in range(16, 257)
    values = json.loads(to_json(sweep_values(made())))
    assert values["best"]["rank"] == 1
    assert values["failed"] == 1


def halving() -> Sweep:
    """20 trials with few rows, the best 2 of them with more."""
    sweep = made(20)
    first = [replace(trial, iteration=1, rows=100) for trial in sweep.trials]
    last = [
        replace(trial, number=21 + k, iteration=2, rows=300, rank=1 + k)
        for k, trial in enumerate(sweep.ranked[:2])
    ]
    first = [replace(trial, rank=trial.rank + 2) for trial in first]
    return replace(sweep, trials=[*first, *last], best=last[0], sampler="halving")


def test_halving_compares_trials_with_equal_rows() -> None:
    sweep = halving()
    assert len(sweep.first_iteration) == 19
    assert [trial.iteration for trial in sweep.ranked[:3]] == [2, 2, 1]
    rows = best_rows(sweep.ranked[:1], [], "accuracy")
    assert rows[0][:3] == ["rank", "trial", "rows"]
    assert rows[1][:3] == ["1", "21", "300"]
    out = io.StringIO()
    write_trials(sweep, out)
    assert out.getvalue().splitlines()[-1].startswith("22,2,2,300,")
    assert max(trial.number for _, trial in best_by_time(sweep)) <= 20
    assert "Sweep of left" in sweep_page(sweep)


def test_the_page_has_no_scripts_and_escapes_names() -> None:
    text = page_of("sweep")
    assert "<script" not in text
    assert "<churn" not in text
    assert "&lt;churn &amp; co&gt;.csv" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert " on" not in re.sub(r">[^<]*<", "><", text.partition("<body>")[2])


def test_a_chart_per_parameter_that_varies() -> None:
    titles = [caption.text for caption in main_of("sweep").iter("figcaption")]
    assert titles == [
        "Which parameters matter",
        "accuracy over hidden_layer_sizes",
        "accuracy over learning_rate_init",
        "accuracy over dropout",
        "accuracy over batch_size",
        "The 8 best trials",
        "accuracy over time",
    ]


def test_texts_can_be_read_on_a_phone() -> None:
    text = page_of("sweep")
    widths = {float(w) for w in re.findall(r'viewBox="0 0 (\d+) [\d.]+" role="img"', text)}
    size = re.search(r"svg text \{ font-size: ([\d.]+)px; \}", text)
    assert size is not None
    assert float(size[1]) * PHONE / max(widths) >= 12


def test_every_trial_is_in_its_chart_at_its_place() -> None:
    sweep = made()
    drawing = score_chart(sweep, "learning_rate_init")
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="4" class="mark( hollow)?', drawing)
    assert len(dots) == 58  # and the best, a triangle
    assert sum(bool(hollow) for *_, hollow in dots) >= 1  # the trial that diverged
    best = sweep.best
    place = re.search(r'translate\(([\d.]+) ([\d.]+)\)" class="mark series-2"', drawing)
    assert place is not None
    across = Scale(1e-4, 1e-1, 70, 342, log=True).at(best.params["learning_rate_init"])
    assert float(place[1]) == pytest.approx(across, abs=0.06)
    ticks = re.findall(r'class="tick">([^<]+)<', drawing)
    assert ticks[:4] == ["0.0001", "0.001", "0.01", "0.1"]
    assert best.mean == max(t.mean for t in sweep.trials if not t.failed)


def test_a_diverged_trial_does_not_set_the_axis() -> None:
    scale = score_scale([t for t in made().trials if not t.failed], 200, 10)
    assert scale.low > -1
    assert scale.at(-50.0) == 200
    equal = [replace(trial, mean=0.0) for trial in made().trials]
    assert 10 < score_scale(equal, 200, 10).at(0.0) < 200


def test_the_best_trials_are_those_of_the_best_ranks() -> None:
    assert [trial.rank for trial in best_trials(made())] == list(range(1, 9))
    assert len(best_trials(made(5))) == 4  # one failed


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1e-4, 1e-1, [1e-4, 1e-3, 1e-2, 1e-1]),
        (1e-6, 1e6, [1e-6, 1e-3, 1.0, 1e3, 1e6]),
        (5e-4, 2e-2, [5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2]),
        (16, 256, [20, 50, 100, 200]),
        (3.0, 4.0, [3.0, 3.2, 3.4, 3.6, 3.8, 4.0]),
    ],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, expected: list[float]) -> None:
    assert Scale(low, high, 0, 100, log=True).ticks == pytest.approx(expected)


def test_ticks_and_places_of_an_even_axis() -> None:
    scale = Scale(0, 0.5, 100, 200)
    assert scale.ticks == pytest.approx(round_numbers(0, 0.5))
    assert [scale.at(value) for value in (-1, 0, 0.25, 0.5, 9)] == [100, 100, 150, 200, 200]
    assert Scale(2, 2, 0, 100).ticks == [2]


def test_a_page_of_few_trials_and_of_fixed_parameters() -> None:
    sweep = made(5, space={"solver": ["adam"]})
    text = sweep_page(sweep)
    assert text.count("<figure>") == 1  # time
    one = made(1)
    assert "accuracy over time" in sweep_page(replace(one, trials=[one.best]))
