"""How Sphinx builds the guide: `sphinx-build -W -b html docs docs/_build`, without a network."""

from __future__ import annotations

import os
import re
from typing import Any

from gpubp.version import __version__

project = "gpubp"
author = "the authors of gpubp"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]
# Sphinx cannot pickle a function of sphinx-gallery's settings, and says so in a warning. The
# docstrings of methods that MLPSearchCV inherits refer to the glossary of scikit-learn.
suppress_warnings = ["config.cache", "ref.term"]

myst_enable_extensions = ["colon_fence", "deflist"]
# Headings down to "###" can be linked to as page.md#heading, as on GitHub.
myst_heading_anchors = 3

autosummary_generate = True
default_role = "literal"  # `name` in a docstring
autodoc_typehints = "none"  # types stand in the docstrings
numpydoc_show_class_members = False  # the template of a class lists its methods
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",  # all of them are run
    "image_scrapers": (),  # they print, and draw no figures
    "reset_modules": (),  # the default imports matplotlib
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1_000_000,  # the times of one build say nothing to a reader
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
}
# Examples that train take one BLAS thread each: on a busy machine two wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

html_theme = "pydata_sphinx_theme"
html_title = f"gpubp {__version__}"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"**": ["globaltoc.html"]}
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "navbar_center": [],  # the sidebar lists all pages
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
}


_ITEM = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.+)")
_NEXT_ITEM = re.compile(r"(?<=[.;?]) (?=\w+(?:, \w+)* : )")


def _arguments_as_list(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Turn the lines "argument : meaning" of a docstring without sections into a list."""
    if any(re.fullmatch(r"\s*-{3,}\s*", line) for line in lines):  # numpydoc reads this one
        lines[:] = [re.sub(r":ref:`(.*?) ?<.*?>`", r"\1", line) for line in lines]
        return
    text = "\n".join(lines)
    paragraphs = []
    for paragraph in text.split("\n\n"):
        if _ITEM.match(paragraph.lstrip()):
            joined = " ".join(line.strip() for line in paragraph.splitlines())
            items = [_ITEM.sub(r"- **\1** : \2", part) for part in _NEXT_ITEM.split(joined)]
            paragraphs.append("\n".join(items))
        else:
            paragraphs.append(paragraph)
    lines[:] = "\n\n".join(paragraphs).splitlines()


def _examples_as_gallery(app: Any, name: str, source: list[str]) -> None:
    """Lead the links to scripts, which work in a clone, to their pages in the gallery."""
    text = re.sub(r"\]\(\.\./examples/(\w+)\.py\)", r"](examples/\1.rst)", source[0])
    source[0] = text.replace("](../examples)", "](examples/index.rst)")


def setup(app: Any) -> None:
    """Register the functions above, that of docstrings before numpydoc's."""
    app.connect("source-read", _examples_as_gallery)
    app.connect("autodoc-process-docstring", _arguments_as_list, priority=100)
