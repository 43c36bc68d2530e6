"""Every number of a step of backpropagation, as text, values and a page; no feature attribution."""

from gpubp.explain.example import Example
from gpubp.explain.examples import example_by_name
from gpubp.explain.gradient_check import GradientCheck, check_gradients
from gpubp.explain.loss_landscape import Variation, vary
from gpubp.explain.trace import LayerTrace, StepTrace, trace_step, trace_steps

__all__ = [
    "Example",
    "GradientCheck",
    "LayerTrace",
    "StepTrace",
    "Variation",
    "check_gradients",
    "example_by_name",
    "trace_step",
    "trace_steps",
    "vary",
]
