"""Writes the table of the README and the chart of the guide from results of `gpubp bench cpu`.

Usage: `python -m gpubp.bench.readme bench/results/cpu-MACHINE.json`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.charts import CHART_CSS, bars
from gpubp.bench.peers.ours_numpy import GpubpNumpy
from gpubp.bench.ratios import different_work, ratio_of
from gpubp.bench.report import heading, with_cases
from gpubp.bench.results import Part, Row
from gpubp.bench.saved_runs import is_run, load_runs

ROOT = Path(__file__).resolve().parents[1]
PICTURE = "docs/cpu.svg"
OURS = (Row.peer, GpubpNumpy.name)
BEGIN, END = "<!-- figures of gpubp bench cpu -->\n", "<!-- end of figures -->\n"
_NAMES = {
    GpubpNumpy.name: "NumPy only",
    "sklearn_mlp": "scikit-learn",
    "torch_eager": "PyTorch",
    "jax_scan": "JAX jit + scan",
}
_STYLE = """
:root { --line: #c9d1dc; --quiet: #586273; --panel: #fff; color: #1c2430; }
.ground { fill: var(--panel); }
text { font: 15px system-ui, sans-serif; fill: #1c2430; }
:root { --series-1: #2948da; --series-2: #e14200; --series-3: #009f6e; --series-4: #a06aac; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3b4452; --quiet: #9fa9b7; --panel: #0d1117; }
  text { fill: #e6edf3; }
  :root { --series-1: #82ffff; --series-2: #f58905; --series-3: #499077; --series-4: #ab6fce; }
}
"""


def figures(part: Part) -> str:
    """Return the text between BEGIN and END: the table and the machine."""
    pairs = [(case, row) for case, row in with_cases(part) if row.status == "ok"]
    cases = list(dict.fromkeys(case.name for case, _ in pairs))
    others = dict.fromkeys(c.peer for c, _ in pairs if c.peer not in (*OURS, FLOOR))
    peers = list(others)
    heads = ["", "network", "batch", "rows/s", *(f"x {_NAMES.get(p, p)}" for p in peers)]
    heads += ["of the products", "peak MB"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in cases:
        own = {case.peer: (case, row) for case, row in pairs if case.name == name}
        for peer in OURS:
            if peer in own:
                lines.append("| " + " | ".join(_cells(peer, own, peers)) + " |")
    machine = "; ".join(heading(part)[:3])
    return "\n" + "\n".join(lines) + f"\n\n{machine}.\n\n"


def _cells(peer: str, own: dict[str, tuple[Case, Row]], peers: list[str]) -> list[str]:
    case, row = own[peer]
    memory = row.figures.get("peak_bytes")
    return [
        case.network if peer == Row.peer else "NumPy only",
        "-".join(map(str, case.sizes)),
        f"{case.batch:,}",
        f"{row.figures['rows_per_second']:,.0f}",
        *(_ratio(case, row, own.get(peer)) for peer in peers),
        f"{row.figures['of_products']:.0%}" if "of_products" in row.figures else "",
        f"{memory / 1e6:,.1f}" if memory is not None else "",
    ]


def _ratio(case: Case, row: Row, peers: tuple[Case, Row] | None) -> str:
    if peers is None:
        return ""
    other = peers[1]
    return "differs" if different_work(case, row, other) else f"{ratio_of(other, row):.2f}"


def picture(part: Part) -> str:
    """Return an SVG file with the bars of all ratios to the baseline."""
    pairs = [(case, row) for case, row in with_cases(part) if "ratio" in row.figures]
    peers = [Row.peer, *dict.fromkeys(c.peer for c, _ in pairs if c.peer != Row.peer)]
    looks = {peer: k for k, peer in enumerate(peers, start=1)}
    drawn = bars(pairs, looks, _NAMES["sklearn_mlp"], _NAMES)
    opening, _, rest = drawn.partition(">")
    style = f"<style>{CHART_CSS}{_STYLE}</style>"
    # The picture has its own background, since the colour scheme of the page may differ.
    ground = '<rect width="100%" height="100%" class="ground"/>'
    return f'{opening} xmlns="http://www.w3.org/2000/svg">{style}{ground}{rest}\n'


def main(*arguments: str) -> None:
    """Write the figures of a results file into the README and the chart into its file.

    arguments : one, the path of the results file.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise SystemExit("usage: python -m gpubp.bench.readme RESULTS.json, of gpubp bench cpu")
    part = _part(Path(arguments[0]))
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"{readme} has no lines {BEGIN.strip()!r} and {END.strip()!r}")
    readme.write_text(before + BEGIN + figures(part) + END + after, encoding="utf-8")
    (ROOT / PICTURE).write_text(picture(part), encoding="utf-8")


def _part(path: Path) -> Part:
    """Return the results of the suite cpu in the file; exit with one line if there are none."""
    try:
        results = load_runs(path)
    except (OSError, ValueError) as error:
        raise SystemExit(f"Error: {error}") from None
    if [name for name, part in results.items() if is_run(part)] != ["cpu"]:
        raise SystemExit(
            f"Error: {str(path)!r} has no results of gpubp bench cpu; give a file that it wrote"
        )
    return results["cpu"]


if __name__ == "__main__":
    main(*sys.argv[1:])
