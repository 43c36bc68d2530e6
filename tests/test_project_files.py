"""Files around the code: versions agree, links hold, and what is documented is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gpubp
from gpubp import settings
from gpubp.estimators.serialization import RETIRED
from gpubp.storage.model_file import FORMAT_VERSION

ROOT = Path(__file__).parents[1]
# tests/docs checks the links of the guide, which has anchors of its own.
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = ROOT / ".github" / "workflows"


def text_of(name: str) -> str:
    """The text of a file; an sdist has no workflows and no Dockerfiles."""
    path = ROOT / name
    if not path.exists() and not (ROOT / ".github").exists():
        pytest.skip(f"{name} is in a checkout only")
    return path.read_text(encoding="utf-8")


def test_the_version_is_one() -> None:
    assert f"\nversion: {gpubp.__version__}\n" in text_of("CITATION.cff")
    (first, *_) = re.findall(r"^## (\S+)", text_of("CHANGELOG.md"), re.M)
    assert first == gpubp.__version__


def test_the_changelog_is_sorted() -> None:
    entries = re.split(r"^## ", text_of("CHANGELOG.md"), flags=re.M)[1:]
    for entry in entries:
        kinds = re.findall(r"^### (.+)$", entry, re.M)
        assert kinds == [kind for kind in ("Added", "Changed", "Fixed") if kind in kinds]
        before, *_ = re.split(r"^### ", entry, flags=re.M)
        assert "\n- " not in before


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_hold(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S)):
        path, _, heading = link.partition("#")
        if link.startswith(("http:", "https:")):
            continue
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        if heading and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
            assert heading in {
                re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings
            }


def test_the_variables_are_described() -> None:
    page = text_of("docs/operations.md")
    assert set(re.findall(r"^\| `(GPUBP_\w+)` \|", page, re.M)) == set(settings.VARIABLES)


def test_environment_variables_are_read_in_one_file() -> None:
    for path in (ROOT / "gpubp").rglob("*.py"):
        names = set(
            re.findall(r"environ\S*[\[(]\W?\"(GPUBP_\w+)", path.read_text(encoding="utf-8"))
        )
        assert not names or path.name == "settings.py", f"{path.name} reads {names}"


def test_the_format_of_model_files_is_described() -> None:
    page = text_of("docs/versioning.md")
    assert f"`format_version` is {FORMAT_VERSION}." in page
    assert "`RETIRED`" in page
    assert RETIRED


def test_the_workflow_tests_every_python_that_is_claimed() -> None:
    claimed = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    (tested,) = re.findall(r"python: \[(.+)\]", text_of(".github/workflows/check.yml"))
    assert re.findall(r"3\.\d+", tested) == claimed
    assert f">={claimed[0]}" == PROJECT["requires-python"]


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_the_images_run_the_installed_command(name: str) -> None:
    lines = text_of(f"docker/{name}.Dockerfile").splitlines()
    assert 'ENTRYPOINT ["gpubp"]' in lines
    assert "USER gpubp" in lines
    if name == "cuda":
        extras = [e for e in PROJECT["optional-dependencies"] if e.startswith("cuda")]
        (default,) = (line.partition("=")[2] for line in lines if line.startswith("ARG CUDA="))
        assert f"cuda{default}" in extras


def test_check_without_its_tools_names_the_command_that_installs_them(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    text_of("check")  # skips the test in an sdist
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [ROOT / "check"],
        env=environment | {"PYTHON": str(bare)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"./check needs ruff, mypy and pytest: {bare} -m pip install -e '.[dev]'\n"
    )
