from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.optimizers import SGD
from gpubp.estimators.regressor import REGRESSION_LOSSES
from gpubp.explain import example_by_name
from gpubp.explain.example import build
from gpubp.explain.examples import EXAMPLES, step_by_step
from gpubp.explain.gradient_check import check_gradients
from gpubp.explain.loss_landscape import losses_of, vary
from gpubp.explain.parameters import parameters_of
from gpubp.explain.text import sections, steps_table
from gpubp.explain.trace import trace_step, trace_steps
from gpubp.explain.values import example_values, step_values
from gpubp.kernels.activations import ACTIVATIONS
from tests.backprop import solver_cases

OPTIMIZERS = {"plain": SGD(0.0, nesterov=False), **solver_cases.OPTIMIZERS}


def exact_steps(count: int, kind: type) -> list[dict[str, list]]:
    """The first text's network in numbers of a ``kind``: every quantity of each step."""
    w = [kind(n) / 100 for n in (11, 21, 12, 8, 14, 15)]
    x1, x2, target, rate = kind(2), kind(3), kind(1), kind(5) / 100
    steps = []
    for _ in range(count):
        h1, h2 = x1 * w[0] + x2 * w[1], x1 * w[2] + x2 * w[3]
        prediction = h1 * w[4] + h2 * w[5]
        delta = prediction - target
        gradient = [
            x1 * w[4] * delta,
            x2 * w[4] * delta,
            x1 * w[5] * delta,
            x2 * w[5] * delta,
            h1 * delta,
            h2 * delta,
        ]
        new = [a - rate * g for a, g in zip(w, gradient, strict=True)]
        steps.append(
            {
                "hidden": [h1, h2],
                "prediction": [prediction],
                "loss": [delta * delta / 2],
                "delta": [delta],
                "gradient": gradient,
                "new": new,
            }
        )
        w = new
    return steps


@pytest.mark.parametrize(("kind", "count"), [(Fraction, 5), (Decimal, 30)])
def test_the_worked_steps_equal_exact_numbers(kind, count):
    # A fraction's digits triple at every step, so 30 steps are held in decimals of 60 digits.
    with localcontext() as context:
        context.prec = 60
        exact = exact_steps(count + 1, kind)
    example = step_by_step()
    places = [p.place for p in parameters_of(example.network)]
    for trace, want, after in zip(trace_steps(example, count), exact, exact[1:], strict=False):
        found = {
            "hidden": trace.layers[0].A,
            "prediction": trace.prediction,
            "loss": [trace.loss],
            "delta": trace.layers[1].delta,
            "gradient": trace.gradient[places],
            "new": trace.new_theta[places],
        }
        # Near the target, prediction - target loses the digits that cancel.
        rtol = 1e-14 if trace.number == 1 else 1e-9
        for name, values in found.items():
            np.testing.assert_allclose(values, np.array(want[name], float), rtol=rtol, atol=1e-15)
        np.testing.assert_allclose(trace.new_prediction, float(after["prediction"][0]), rtol=1e-14)
        np.testing.assert_allclose(
            trace.new_hidden[0], np.array(after["hidden"], float), rtol=1e-14
        )
        np.testing.assert_allclose(trace.new_loss, float(after["loss"][0]), rtol=rtol, atol=1e-15)


def test_the_numbers_of_the_text():
    first, *_, last = trace_steps(step_by_step(), 30)
    assert first.loss == pytest.approx(0.3272405, rel=1e-14)
    assert first.new_prediction[0] == pytest.approx(0.2557457808075, rel=1e-14)
    assert first.new_loss == pytest.approx(0.276957171392918917676028125, rel=1e-14)
    predictions = {t.number: t.new_prediction[0] for t in trace_steps(step_by_step(), 30)}
    texts = {2: 0.332314, 3: 0.419373, 4: 0.513272, 5: 0.608314, 10: 0.925641, 15: 0.991313}
    for number, prediction in (texts | {20: 0.999069, 30: 0.999990}).items():
        assert predictions[number] == pytest.approx(prediction, abs=5e-7)
    assert last.number == 30


def any_example(activation: str, loss: str, optimizer, bias: bool, alpha: float = 0.0):
    outputs = 1 if loss == "sigmoid_cross_entropy" else 3
    targets = {
        "softmax_cross_entropy": [2, 0],
        "soft_cross_entropy": [[0.2, 0.1, 0.7], [0, 0, 1]],
        "sigmoid_cross_entropy": [[1], [0]],
        "poisson": [[3, 0, 1], [1, 2, 0]],
    }.get(loss, [[0.3, -1.0, 2.0], [1.0, 0.5, 0.2]])
    return build(
        "any",
        [4, 5, 3, outputs],
        activation,
        loss,
        [[0.5, -1.2, 2.0, 0.1], [1.0, 0.3, -0.7, 0.9]],
        targets,
        biases="random" if bias else None,
        rate=0.1,
        optimizer=optimizer,
        alpha=alpha,
        seed=2,
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize(
    ("activation", "loss"),
    [(name, "softmax_cross_entropy") for name in ACTIVATIONS] + [("tanh", name) for name in LOSSES],
)
def test_every_kind_is_traced_and_its_gradients_agree(activation, loss, optimizer):
    for bias in (False, True):
        example = any_example(activation, loss, optimizer, bias)
        for row in (0, 1):
            checks = check_gradients(example, row)
            assert len(checks) == example.network.n_parameters
            assert all(check.agrees for check in checks)
        traces = list(trace_steps(example, 3))
        for section in sections(example, traces[0]):
            assert section.title
            assert section.lines
        values = step_values(example, traces[1])
        assert len(values["parameters"]) == example.network.n_parameters
        assert example_values(example)["loss"] == loss


def fitted_by_training(example, loss, alpha):
    """The estimator after one step on the example's first row, from the example's weights."""
    options = {"loss": loss} if loss in REGRESSION_LOSSES else {}
    kind = MLPRegressor if options else MLPClassifier
    estimator = kind(
        hidden_layer_sizes=example.network.sizes[1:-1],
        activation=example.network.activations[0],
        **solver_cases.estimator_parameters(example.optimizer),
        learning_rate_init=example.rate,
        alpha=alpha,
        max_iter=1,
        device="cpu",
        **options,
    )
    rows, y = example.X[:1], example.Y[:1]
    if options:
        estimator.partial_fit(rows, y)
    else:
        classes = [0, 1, 2] if loss == "softmax_cross_entropy" else [0, 1]
        labels = y.ravel().astype(int)
        estimator.partial_fit(rows, labels, classes=classes)
    # One epoch has set it up; now from the example's weights, with a new optimizer.
    fresh = kind(**estimator.get_params())
    fresh.__dict__.update(estimator.__dict__)
    fresh.coefs_, fresh.intercepts_ = example.network.unpack(example.theta)
    del fresh._optimizer_state, fresh._state_of
    return fresh.partial_fit(rows, y if options else y.ravel().astype(int))


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "soft_cross_entropy"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_the_trace_equals_what_training_does(loss, optimizer, alpha):
    example = any_example("tanh", loss, optimizer, True, alpha)
    estimator = fitted_by_training(example, loss, alpha)
    Ws, bs = example.network.unpack(trace_step(example).new_theta)
    for found, trained in zip(Ws + bs, estimator.coefs_ + estimator.intercepts_, strict=True):
        np.testing.assert_array_equal(found, trained)


def test_a_step_needs_no_row_that_is_not_there():
    with pytest.raises(IndexError, match="row 1 was asked for, but the rows are 0 to 0"):
        trace_step(step_by_step(), 1)


def test_the_name_of_an_example_is_not_an_example():
    assert example_by_name("company").name == "company"
    for refuse in (trace_step, check_gradients, lambda name: next(trace_steps(name, 2))):
        with pytest.raises(TypeError, match=r"got 'net.toml'; gpubp.explain.example_by_name"):
            refuse("net.toml")
    with pytest.raises(TypeError, match="must be an Example, got 'xor'"):
        vary("xor", "w1")


def test_a_wrong_gradient_and_a_kink_are_found(monkeypatch):
    # A unit exactly at its kink: all weights into it are 0.
    weights = [[[0, 0.2], [0, 0.3]], [[0.5], [0.7]]]
    example = build("kink", [2, 2, 1], "relu", "squared_error", [1, 2], [3], weights=weights)
    checks = check_gradients(example)
    parted = [check for check in checks if not check.agrees]
    assert parted
    assert all(check.kink and check.parameter.layer == 0 for check in parted)
    assert {check.parameter.unit for check in parted} == {0}
    import gpubp.explain.trace

    backward = gpubp.explain.trace.backward

    def wrong(backend, network, parameters, gradients, work):
        backward(backend, network, parameters, gradients, work)
        gradients.Ws[1][0, 0] += 1e-3

    monkeypatch.setattr(gpubp.explain.trace, "backward", wrong)
    bad = [check for check in check_gradients(example) if not check.agrees]
    assert [(c.parameter.layer, c.parameter.source) for c in bad if not c.kink] == [(1, 0)]


def test_losses_of_a_population_equal_one_by_one():
    example = any_example("gelu", "softmax_cross_entropy", OPTIMIZERS["plain"], True)
    rng = np.random.default_rng(0)
    thetas = example.theta + rng.normal(size=(7, len(example.theta)))
    together = losses_of(example, thetas)
    alone = [losses_of(example, theta[None])[0] for theta in thetas]
    np.testing.assert_allclose(together, alone, rtol=1e-13)
    rows = [trace_step(replace(example, theta=thetas[0]), row).loss for row in (0, 1)]
    assert together[0] == pytest.approx(np.mean(rows), rel=1e-13)


def test_what_one_weight_does():
    example = step_by_step()
    curve = vary(example, "w1", n=3, span=1)
    # prediction = 0.14 (2 w1 + 0.63) + 0.072
    np.testing.assert_allclose(curve.values, [-0.89, 0.11, 1.11])
    np.testing.assert_allclose(curve.predictions[:, 0], 0.14 * (2 * curve.values + 0.63) + 0.072)
    np.testing.assert_allclose(curve.losses, (curve.predictions[:, 0] - 1) ** 2 / 2)
    with pytest.raises(ValueError, match="'w7' is unknown; the network has w1, w2"):
        vary(example, "w7")


def test_parameters_are_numbered_as_in_the_text():
    example = step_by_step()
    values = [float(example.theta[p.place]) for p in parameters_of(example.network)]
    assert values == [0.11, 0.21, 0.12, 0.08, 0.14, 0.15]
    names = [p.name for p in parameters_of(EXAMPLES["xor"]().network)]
    assert names == [f"w{k}" for k in range(1, 10)] + [f"b{k}" for k in range(1, 5)]


def test_the_text_has_twelve_digits():
    example = step_by_step()
    traces = list(trace_steps(example, 5))
    text = "\n".join(line for s in sections(example, traces[0]) for line in s.lines)
    for shown in (
        "h1 = w1 i1 + w2 i2",
        "0.11 * 2 + 0.21 * 3 = 0.85",
        "out = w5 (w1 i1 + w2 i2) + w6 (w3 i1 + w4 i2)",
        "0.191 - 1 = -0.809",
        "dC/dw4 = i2 * delta(h2) = 3 * (-0.12135) = -0.36405",
        "new w5 = 0.14 - 0.05 * (-0.68765) = 0.1743825",
        "out = 0.255745780807",
        "0.3272405 -> 0.276957171393, smaller",
    ):
        assert shown in text
    assert "0.608313962126" in "\n".join(steps_table(example, traces))


def test_two_outputs_show_the_division_of_the_mean():
    weights = [[[0.15, 0.25], [0.2, 0.3]], [[0.4, 0.5], [0.45, 0.55]]]
    example = build(
        "2-2-2", [2, 2, 2], "logistic", "squared_error", [0.05, 0.1], [0.01, 0.99], weights=weights
    )
    trace = trace_step(example)
    text = "\n".join(line for s in sections(example, trace) for line in s.lines)
    first, second = trace.prediction
    assert (
        f"(prediction - target) / 2 = ({first:.12g} - 0.01) / 2 = {(first - 0.01) / 2:.12g}" in text
    )
    assert f"= ({second:.12g} - 0.99) / 2 = {(second - 0.99) / 2:.12g}" in text


def test_wide_layers_show_the_largest_and_count_the_rest():
    example = build(
        "wide", [50, 40, 1], "relu", "squared_error", np.linspace(-1, 1, 50), [1], seed=1
    )
    text = "\n".join(line for s in sections(example, trace_step(example)) for line in s.lines)
    assert "44 more" in text
    assert "(8 of 40 units: those with the largest delta)" in text
    assert "(8 of 40 units: those with the largest value)" in text
    assert "parameters: those with the largest gradient)" in text
    assert len(text.splitlines()) < 250


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_built_in_examples_learn(name):
    example = EXAMPLES[name]()
    *_, last = trace_steps(example, 400)
    start, end = losses_of(example, np.stack([example.theta, last.new_theta]))
    assert end < 0.2 * start


def test_a_diverging_example_is_traced_without_warnings():
    example = replace(step_by_step(), rate=1e3)
    *_, last = trace_steps(example, 40)
    assert not np.isfinite(last.new_loss)
