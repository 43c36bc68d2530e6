"""The pages can be used by keyboard and by screen reader, and each chart has a table behind it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from gpubp.explain.examples import EXAMPLES
from gpubp.explain.script import SCRIPT, STYLE
from gpubp.reports.html import page, svg
from gpubp.reports.tables import SUMMARY
from tests.reports.pages import NAMES, main_of, page_of, rules_of, style_of


def text_of(part: ElementTree.Element) -> str:
    return "".join(part.itertext()).strip()


@pytest.mark.parametrize("name", NAMES)
def test_the_focus_is_always_visible(name: str) -> None:
    rules = dict(rules_of(name))
    assert rules[":focus-visible"]["outline"] == "2px solid var(--forward)"
    assert not re.search(r"outline(-width|-style)?: *(0|none)", style_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_what_scrolls_can_be_reached_and_has_a_name(name: str) -> None:
    scrolling = {s for s, p in rules_of(name) if p.get("overflow-x", p.get("overflow")) == "auto"}
    assert scrolling == {".scroll"}
    boxes = [part for part in main_of(name).iter("div") if part.get("class") == "scroll"]
    assert boxes
    for box in boxes:
        assert (box.get("tabindex"), box.get("role")) == ("0", "region")
        assert box.get("aria-label")
    inside = {table for box in boxes for table in box.iter("table")}
    for table in main_of(name).iter("table"):
        if table not in inside:  # then its text wraps
            assert name in EXAMPLES
    assert dict(rules_of("iris"))["th, td"]["overflow-wrap"] == "anywhere"


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_tab_key_is_that_of_the_page(name: str) -> None:
    for part in main_of(name).iter():
        assert part.get("tabindex") in (None, "0")
        if part.tag in ("button", "input"):
            assert part.get("aria-label") or text_of(part)
        assert not [key for key in part.attrib if key.startswith("on")]


@pytest.mark.parametrize("name", NAMES)
def test_drawings_have_a_title_and_a_description(name: str) -> None:
    drawings = [d for d in main_of(name).iter("svg") if d.get("aria-hidden") is None]
    assert drawings
    for drawing in drawings:
        assert drawing.get("role") == ("group" if drawing.find(".//*[@data-for]") else "img")
        title, about = drawing[0], drawing[1]
        assert (title.tag, about.tag) == ("title", "desc")
        assert text_of(title) == drawing.get("aria-label")
        assert text_of(about)


@pytest.mark.parametrize("name", NAMES)
def test_each_chart_has_its_numbers_in_a_table(name: str) -> None:
    figures = list(main_of(name).iter("figure"))
    assert figures
    for figure in figures:
        last = figure[-1]
        assert (last.tag, last.get("class"), last.get("open")) == ("details", "numbers", None)
        assert text_of(last[0]) == SUMMARY == "Numbers of this chart"
        tables = list(last.iter("table"))
        assert tables
        for table in tables:
            caption, head, body = table
            assert (caption.tag, head.tag, body.tag) == ("caption", "thead", "tbody")
            assert text_of(caption)
            assert {th.get("scope") for th in head.iter("th")} == {"col"}
            assert len(body) > 0
            for row in body:
                assert [cell.tag for cell in row] == ["th"] + ["td"] * (len(head[0]) - 1)
                assert row[0].get("scope") == "row"
    charts = [d for d in main_of(name).iter("svg") if d.get("aria-hidden") is None]
    inside = [d for figure in figures for d in figure.iter("svg") if d.get("aria-hidden") is None]
    assert charts == inside


@pytest.mark.parametrize("name", NAMES)
def test_every_header_has_a_scope(name: str) -> None:
    assert {th.get("scope") for th in main_of(name).iter("th")} == {"col", "row"}


@pytest.mark.parametrize("name", NAMES)
def test_motion_is_left_out_where_it_is_unwanted(name: str) -> None:
    style = style_of(name)
    assert "@media (prefers-reduced-motion: reduce)" in style
    rule = dict(rules_of(name))["*, ::before, ::after"]
    assert rule == {
        "animation": "none !important",
        "transition": "none !important",
        "scroll-behavior": "auto !important",
    }


def test_titles_and_descriptions_of_drawings_are_text() -> None:
    drawing = ElementTree.fromstring(svg(1, 1, "", "<b>", about="a & b"))
    assert [(part.tag, part.text) for part in drawing] == [("title", "<b>"), ("desc", "a & b")]
    assert [part.tag for part in ElementTree.fromstring(svg(1, 1, "", "a"))] == ["title"]
    assert "prefers-reduced-motion" in page("", "")


def test_back_and_next_are_not_taken_for_stages() -> None:
    buttons = list(main_of("xor").iter("button"))
    stages = [b.get("value") for b in buttons if b.get("value")]
    assert stages == [str(k) for k in range(1, 9)]
    assert [b.get("class") for b in buttons if not b.get("value")] == ["move", "move"]
    assert 'pills = all(".pills button[value]")' in SCRIPT  # their clicks lead to a stage


def test_a_button_that_has_no_effect_keeps_the_focus() -> None:
    assert not re.search(r"\bdisabled = ", SCRIPT)
    assert SCRIPT.count('setAttribute("aria-disabled"') == 2
    assert 'button[aria-disabled="true"]' in STYLE


def test_the_names_of_the_stages_are_read_on_narrow_screens_too() -> None:
    narrow = re.search(r"@media \(max-width: 959px\) \{(.*?)\n\}", STYLE, re.DOTALL)
    assert narrow is not None
    assert "clip-path: inset(50%)" in narrow[1]
    assert not re.search(r"button span \{[^}]*display: none", STYLE)


def test_stage_and_step_are_announced() -> None:
    (status,) = (p for p in main_of("xor").iter("p") if p.get("role") == "status")
    assert (status.get("class"), status.get("data-now")) == ("heard", "title")
    assert [o.get("aria-live") for o in main_of("xor").iter("output")] == ["polite"]
    for attribute in ("aria-current", "aria-pressed", "aria-valuetext"):
        assert f'setAttribute("{attribute}"' in SCRIPT


def test_arrows_scroll_the_box_that_has_the_focus() -> None:
    keys = SCRIPT.partition('addEventListener("keydown", (event) => {\n    if (event.altKey')[2]
    before, guard, _ = keys.partition('if (event.target.matches(".scroll")) return;')
    assert guard
    assert "preventDefault" not in before
    assert 'box.removeAttribute("tabindex")' in SCRIPT  # where nothing scrolls


def test_the_bar_of_the_stages_does_not_hide_the_focus() -> None:
    assert ".js { scroll-padding-top: 200px; }" in page_of("xor")
