"""The parameters of the table estimators follow those of their network and encoder."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from gpubp import MLPClassifier, MLPRegressor, TableClassifier, TableEncoder, TableRegressor
from gpubp.models.table_parameters import AUTO, AUTO_OF_ENCODER, parameter_docs
from gpubp.models.table_recipe import recipe
from gpubp.models.tuned_recipe import tuned_recipe
from tests.models.table_cases import LABELS, SMALL, table

PAIRS = [(TableClassifier, MLPClassifier), (TableRegressor, MLPRegressor)]


@pytest.mark.parametrize(("ours", "network"), PAIRS)
def test_parameters_and_defaults(ours: Any, network: Any) -> None:
    got, own = (inspect.signature(kind).parameters for kind in (ours, network))
    encoder = inspect.signature(TableEncoder).parameters
    assert set(got) == set(own) | set(encoder) | {"preset", "time_limit"}
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in got.values())
    for name, parameter in got.items():
        if name in (*AUTO, *AUTO_OF_ENCODER, "preset"):
            assert parameter.default == "auto", name
        elif name == "time_limit":
            assert parameter.default is None
        elif name == "dtype":
            assert parameter.default == "float32"
        else:
            assert parameter.default == {**own, **encoder}[name].default, name
    assert ours().get_params() == {name: p.default for name, p in got.items()}


def test_each_parameter_of_the_recipe_can_be_auto() -> None:
    for task, own in (("classification", MLPClassifier), ("regression", MLPRegressor)):
        for rows in (10, 300, 3000, 1_000_000):
            plain = recipe(task, rows, 10, 3)  # type: ignore[arg-type]
            tuned = tuned_recipe(task, rows, 10, 3, [0])  # type: ignore[arg-type]
            for chosen in (plain, tuned):
                assert set(chosen) <= set(AUTO) & set(inspect.signature(own).parameters)


def test_set_and_clone_and_print() -> None:
    model = TableClassifier(hidden_layer_sizes=(3,), drop=["a"])
    assert repr(model) == "TableClassifier(drop=['a'], hidden_layer_sizes=(3,))"
    model.set_params(min_frequency=7, alpha=0.5)
    assert (model.min_frequency, clone(model).alpha) == (7, 0.5)
    with pytest.raises(ValueError, match="Invalid parameter 'colour' for estimator TableClassif"):
        model.set_params(colour=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"colour": 1},
            r"^TableRegressor.__init__\(\) got an unexpected keyword argument 'colour'$",
        ),
        (
            {"hidden_layer_size": 1},
            "argument 'hidden_layer_size'. Did you mean 'hidden_layer_sizes'?",
        ),
    ],
)
def test_unknown_parameters(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        TableRegressor(**given)
    with pytest.raises(TypeError, match="positional argument"):
        TableRegressor("huber")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "no"}, "The 'solver' parameter of TableClassifier .* Got 'no' instead."),
        ({"activation": "no"}, "The 'activation' parameter of TableClassifier .* Got 'no' instead"),
        ({"alpha": -1}, r"The 'alpha' parameter .* in the range \[0.0, inf\) .* Got -1 instead."),
        ({"max_iter": 0}, r"The 'max_iter' parameter .* among {'auto'}. Got 0 instead."),
        (
            {"scoring": "acc"},
            "The 'scoring' parameter .* Got 'acc' instead. Did you mean 'accuracy'",
        ),
        ({"hidden_layer_sizes": (3, -1)}, r"hidden_layer_sizes must be > 0, got \[3, -1\]."),
        (
            {"hidden_layer_sizes": "wide"},
            "The 'hidden_layer_sizes' parameter .* Got 'wide' instead",
        ),
        ({"dtype": "int8"}, "The 'dtype' parameter of TableClassifier .* Got 'int8' instead."),
        ({"class_weight": {"x": 1}}, "class_weight has keys .'x'., which are not in y"),
        ({"categorical": "a"}, "categorical"),
        ({"drop": ["z"]}, "rows.csv has no column 'z'"),
    ],
)
def test_wrong_values(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableClassifier(**SMALL | parameters).fit(table(y=LABELS), target="y")


def test_wrong_values_of_a_regression() -> None:
    rows = table(y=np.arange(120.0))
    for parameters, message in (
        ({"loss": "no"}, "The 'loss' parameter of TableRegressor .* Got 'no' instead."),
        ({"loss": (3, 3)}, r"Got \(3, 3\) instead. Did you mean hidden_layer_sizes=\(3, 3\)\?"),
        ({"loss": "huber", "huber_delta": 0}, "The 'huber_delta' parameter .* Got 0"),
        ({"loss": "poisson", "target_scaling": True}, "target_scaling=True makes targets of both"),
    ):
        with pytest.raises(ValueError, match=message):
            TableRegressor(**SMALL | parameters).fit_table(rows, ["y"])


@pytest.mark.parametrize(("ours", "network"), PAIRS)
def test_each_parameter_is_documented_with_its_default(ours: Any, network: Any) -> None:
    docs = {name: entry for names, entry in parameter_docs(ours).items() for name in names}
    parameters = inspect.signature(ours).parameters
    assert set(docs) == set(parameters)
    for name, entry in docs.items():
        default = re.search(r"default=(.*)", entry.partition("\n")[0] + " ")
        assert default, name
        assert default[1].strip().replace('"', "'") == repr(parameters[name].default), name
        by_preset = name in (*AUTO, *AUTO_OF_ENCODER)
        assert ("'auto': chosen by the" in entry) == by_preset, name
        assert len(entry.splitlines()) > 1, name
        assert not re.search(r"\S {2}", entry), name  # left by a removed sentence
    assert "{" + "parameters}" not in ours.__doc__


@pytest.mark.parametrize(
    ("loss", "meant"),
    [("mae", "absolute_error"), ("MSE", "squared_error"), ("squared_err", "squared_error")],
)
def test_a_loss_of_another_name_has_a_suggestion(loss: str, meant: str) -> None:
    for kind in (TableRegressor, MLPRegressor):
        with pytest.raises(ValueError, match=f"Got '{loss}' instead. Did you mean '{meant}'?"):
            kind(loss=loss).fit(np.ones((4, 1)), np.arange(4.0))
