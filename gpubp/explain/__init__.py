"""Backpropagation made visible: every number of a step, as text, values and a page."""

from gpubp.explain.trace import (
    Example,
    GradientCheck,
    LayerTrace,
    StepTrace,
    Variation,
    check_gradients,
    trace_step,
    trace_steps,
    vary,
)

__all__ = [
    "Example",
    "GradientCheck",
    "LayerTrace",
    "StepTrace",
    "Variation",
    "check_gradients",
    "trace_step",
    "trace_steps",
    "vary",
]
