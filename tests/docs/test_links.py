"""Links between the pages of the guide, the README and the examples lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, anchors_of, links_of

GALLERY = DOCS / "examples"  # which sphinx-gallery makes from examples/


def problem_of(page: Path, target: str) -> str | None:
    """Return why the link of a page leads nowhere; None if it leads somewhere."""
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if path.parent == GALLERY:
        return f"{path.name} is in no clone; link to ../examples/{path.stem}.py"
    if not path.exists():
        return f"there is no file {name}"
    if anchor and anchor not in anchors_of(path.read_text(encoding="utf-8")):
        return f"{path.name} has no heading #{anchor}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    targets = links_of(page.read_text(encoding="utf-8"))
    problems = {target: problem_of(page, target) for target in targets}
    assert not {target: why for target, why in problems.items() if why}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tests_and_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert f"def {name}(" in (DOCS.parent / file).read_text(encoding="utf-8"), (file, name)
    paths = re.findall(r"`((?:gpubp|kernels|bench|tests|docs)/[\w./]*)`", text)
    assert not [path for path in paths if not (DOCS.parent / path).exists()]


def test_the_index_lists_every_page() -> None:
    (toctree,) = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.S)
    listed = {line for line in toctree.splitlines() if line and not line.startswith(":")}
    assert listed == {page.stem for page in PAGES[1:]} - {"index"} | {"examples/index"}


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("none.md", "there is no file none.md"),
        ("index.md#none", "index.md has no heading #none"),
        ("examples/digits.rst", "digits.rst is in no clone; link to ../examples/digits.py"),
        ("../examples/none.py", "there is no file ../examples/none.py"),
        ("../examples/digits.py", None),
        ("index.md#gpubp", None),
    ],
)
def test_a_link_that_leads_nowhere_is_found(target: str, problem: str | None) -> None:
    assert problem_of(DOCS / "index.md", target) == problem
