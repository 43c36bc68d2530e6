"""The presets and the time limit of `gpubp train`, and what `gpubp inspect` says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpubp import load
from tests.cli.running import Run, one_line

TUNED = ("--preset", "tuned", "--hidden", "6", "--epochs", "2")


def network_of(run: Run, *options: str, data: str = "iris") -> Any:
    run("train", data, "--quiet", *options)
    return load("model.safetensors").network_


def test_the_tuned_recipe_is_the_default(run: Run) -> None:
    network = network_of(run, "--preset", "auto", "--epochs", "1")
    assert network.n_members == 4
    assert network.input_stage == {"periodic": (0, 1, 2, 3)}
    assert load("model.safetensors").about_["preset"] == "tuned"


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("iris", ("--lr", "0.01")),
        ("iris", ("--schedule", "constant")),
        ("iris", ("--solver", "adam")),
        ("iris", ("--weight-decay", "0.1")),
        ("diabetes", ("--loss", "huber")),
    ],
)
def test_options_of_rates_and_losses_choose_plain(
    run: Run, data: str, options: tuple[str, ...]
) -> None:
    network = network_of(run, "--preset", "auto", "--epochs", "1", *options, data=data)
    assert network.n_members is None
    assert network.input_stage is None
    assert load("model.safetensors").about_["preset"] == "plain"


def test_tuned_keeps_its_recipe_with_another_rate(run: Run) -> None:
    network = network_of(run, *TUNED, "--lr", "0.01")
    assert network.learning_rate_init == 0.01
    assert network.rate_factors["weights"] == "fan_in"


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (("--dropout", "0.1"), {"dropout": 0.1}),
        (("--batch-size", "16"), {"batch_size": 16}),
        (("--alpha", "0.5"), {"alpha": 0.5}),
        (("--patience", "1"), {"n_iter_no_change": 1}),
        (("--validation-size", "0.1"), {"validation_fraction": 0.1, "early_stopping": True}),
        (("--validation-size", "0"), {"early_stopping": False}),
        (("--scaling", "standard"), {}),
    ],
)
def test_other_options_replace_one_choice(
    run: Run, options: tuple[str, ...], parameters: dict[str, Any]
) -> None:
    network = network_of(run, *TUNED, *options)
    found = network.get_params()
    assert {name: found[name] for name in parameters} == parameters
    assert found["n_members"] == 4
    assert found["weights_init"] == "he_normal"


def test_inspect_shows_the_preset_in_words(run: Run) -> None:
    run("train", "iris", *TUNED)
    lines = run("inspect", "model.safetensors").out.splitlines()
    text = " ".join(" ".join(lines).split())
    assert "network 4-6-3, " in text
    assert "input_stage periodic features of 4 columns, " in text
    assert "rate_factors weights=fan_in biases=0.1 scale=6 periodic=0.1" in text
    assert "(by preset tuned and the size of the table)" in text
    assert "4 members, each on all rows, with 25 % of them held out for validation" in text
    assert max(map(len, lines)) <= 80


def test_json_has_the_preset(run: Run) -> None:
    result = run("train", "iris", *TUNED, "--json").events[-1]
    described = run("inspect", "model.safetensors", "--json").events[0]
    for found in (result, described):
        assert found["preset"] == "tuned"
        assert found["time_limit"] is None
        assert found["ensemble"]["validation"] == 0.25
    assert result["layers"] == described["network"]["layers"] == [4, 6, 3]
    assert result["periodic"] == described["network"]["periodic"] == 4


def test_one_member_is_one_network(run: Run) -> None:
    result = run("train", "iris", *TUNED, "--members", "1", "--json").events[-1]
    assert result["ensemble"] is None
    assert result["preset"] == "tuned"
    assert load("model.safetensors").network_.n_members is None


def test_folds_of_the_members_of_the_recipe(run: Run) -> None:
    out = " ".join(run("train", "iris", *TUNED, "--member-rows", "folds").out.split())
    assert "4 members, each without one of 4 folds, with 25 % of them held out" in out
    assert "out-of-fold accuracy 0." in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "best"), "'best' is not one of 'auto', 'tuned', 'plain'"),
        (("--preset", "tuned", "--solver", "lbfgs"), "--preset tuned is for --solver adamw"),
        (("--preset", "plain", "--member-rows", "folds"), "give its number of networks"),
        (("--preset", "auto", "--lr", "1", "--member-rows", "all"), "give its number of networks"),
        (("--time-limit", "0s"), "is not a time above 0"),
        (("--time-limit", "soon"), "is not a time above 0"),
    ],
)
def test_wrong_usage(run: Run, options: tuple[str, ...], message: str) -> None:
    assert message in one_line(run("train", "iris", *options, code=2))


def test_rows_of_members_of_a_table_that_gets_one_network(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.models.tuned_recipe.MOST_CELLS", 100)
    result = run("train", "iris", "--preset", "tuned", "--member-rows", "folds", code=2)
    assert "a table of this size gets one network" in one_line(result)


def test_a_time_limit_reduces_the_training(run: Run) -> None:
    result = run("train", "iris", "--preset", "tuned", "--time-limit", "0.01s")
    text = " ".join(result.out.split())
    wanted = "1 network instead of 4, 1 epoch of 24"
    assert f"time limit of 0.01 s: {wanted}; the model depends on the speed of the machine" in text
    inspected = " ".join(run("inspect", "model.safetensors").out.split())
    assert f"time limit 0.01 s, {wanted} (by the speed of the machine)" in inspected


def test_enough_time_changes_nothing(run: Run) -> None:
    known = network_of(run, *TUNED).coefs_
    network = network_of(run, *TUNED, "--time-limit", "10m")
    limit = load("model.safetensors").about_["time_limit"]
    assert limit == {"seconds": 600.0, "reduced": ""}
    assert all(np.array_equal(a, b) for a, b in zip(network.coefs_, known, strict=True))


def test_the_time_limit_stops_lbfgs(run: Run) -> None:
    options = ("--solver", "lbfgs", "--epochs", "100000", "--time-limit", "0.001s")
    result = run("train", "diabetes", *options, "--json").events[-1]
    assert result["stopped_by"] == "callback"
    assert result["time_limit"]["reduced"] == f"stopped after iteration {result['epochs']}"
