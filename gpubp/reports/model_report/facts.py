"""Facts about a model and its training, name by name."""

from __future__ import annotations

from collections.abc import Mapping

from gpubp.reports.html import element, escape
from gpubp.reports.labels import printable
from gpubp.reports.model import model_facts
from gpubp.reports.model_report.report import ModelReport
from gpubp.reports.summary import data_text

FACTS_CSS = """
dl { margin: 8px 0 16px; font-size: 0.9375rem; }
dt { font-weight: 600; }
dd { margin: 0 0 8px; max-width: 90ch; overflow-wrap: anywhere; }
@media (min-width: 640px) {
  dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 20px; }
  dd { margin: 0; }
}
"""
_ENGINES = {"numpy": "NumPy", "compiled": "compiled code", "cuda": "CUDA kernels"}
_NAMES = {"chosen": "chosen by gpubp", "recipe": "given or default"}


def about_model(report: ModelReport) -> str:
    """Return what was trained on what."""
    facts = model_facts(report.model)
    if "source" in report.result.get("data", {}):
        facts["data"] = data_text(report.result["data"])
    facts.pop("training")
    return fact_list({_NAMES.get(name, name): text for name, text in facts.items()})


def about_timing(report: ModelReport) -> str:
    """Return where the training ran, and how long it took."""
    result = report.result
    facts = {"training": model_facts(report.model)["training"]}
    if "seconds" in result:
        facts |= {
            "time": f"{result['seconds']:.3g} s for the training alone, "
            f"{result['rows_per_second']:,.0f} rows/s",
            "device": f"{result['device']}, by {_ENGINES.get(result['engine'], result['engine'])}",
            "numbers": f"{result['dtype']}, matrix products in {result['precision']}",
        }
    facts["versions"] = ", ".join(f"{name} {text}" for name, text in report.versions.items())
    return fact_list(facts)


def fact_list(facts: Mapping[str, str]) -> str:
    """Return facts as a list; names and texts are plain."""
    return element(
        "dl",
        "".join(
            element("dt", escape(name)) + element("dd", escape(printable(text)))
            for name, text in facts.items()
        ),
    )
