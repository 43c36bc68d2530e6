"""The page of `gpubp explain` can be read and used on a phone and on a desktop screen."""

from __future__ import annotations

import re
from functools import cache
from itertools import combinations
from xml.etree import ElementTree

import pytest

from gpubp.explain.example import Example, build
from gpubp.explain.examples import EXAMPLES
from gpubp.explain.layout import FONT, PHONE, Box, is_free, text_width
from gpubp.explain.page import explain_page
from gpubp.explain.trace import trace_steps

LEAST_TEXT = 12.0  # pixels
LEAST_TARGET = 44.0  # pixels of what a finger has to hit
SCREEN = 400 - 2 * 10  # pixels of a drawing on a screen of 400


def deep() -> Example:
    return build("deep", [3, 4, 3, 1], "relu", "squared_error", [1.7, 2, -0.05], [1.5], biases=None)


MADE = {**EXAMPLES, "deep": deep}


@cache
def made(name: str) -> str:
    example = MADE[name]()
    return explain_page(example, list(trace_steps(example, 3)))


def drawings(name: str, kind: str) -> list[ElementTree.Element]:
    found = re.findall(rf'<svg [^>]*class="{kind}".*?</svg>', made(name), re.DOTALL)
    return [ElementTree.fromstring(drawing) for drawing in found]


def labels_of(group: ElementTree.Element) -> list[Box]:
    """The room of each number on an edge, as tall as a line of text."""
    boxes = []
    for text in group.iter("text"):
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        half = text_width("".join(text.itertext())) / 2
        boxes.append(Box(x - half, y - 0.9 * FONT, x + half, y + 0.3 * FONT))
    return boxes


def rule(text: str, selector: str) -> str:
    """The last rule for a selector, which holds against the ones before."""
    found: list[str] = re.findall(rf"^{re.escape(selector)} \{{([^}}]*)\}}", text, re.MULTILINE)
    return found[-1]


@pytest.mark.parametrize("name", MADE)
def test_text_in_a_drawing_is_never_below_12_pixels(name: str) -> None:
    text = made(name)
    assert "font-size: 12px" in rule(text, "svg text")
    assert PHONE <= SCREEN
    for drawing in drawings(name, "narrow") + drawings(name, "wide"):
        _, _, width, height = map(float, drawing.attrib["viewBox"].split())
        style = dict(part.split(":") for part in drawing.attrib["style"].split(";"))
        assert float(style["min-width"][:-2]) >= LEAST_TEXT / FONT * width - 0.5
        assert float(style["min-height"][:-2]) >= LEAST_TEXT / FONT * height - 0.5
        assert float(style["max-width"][:-2]) <= 16 / FONT * width + 0.5
    if name not in ("iris", "deep"):
        widths = [float(d.attrib["viewBox"].split()[2]) for d in drawings(name, "narrow")]
        assert max(widths) <= SCREEN
    curves = re.findall(r'viewBox="0 0 (\d+) \d+"[^>]*over the steps"', text)
    assert len(curves) == 2
    assert all(FONT * SCREEN / float(width) >= LEAST_TEXT for width in curves)
    for size in re.findall(r"font-size: ([^;]+);", text):
        number, unit = re.fullmatch(r"(?:max\()?([\d.]+)(r?em|px)(?:, 12px\))?", size).groups()  # type: ignore[union-attr]
        least = 14 if unit == "em" else 16 if unit == "rem" else 1
        assert "12px" in size or float(number) * least >= LEAST_TEXT, size


def test_buttons_and_the_slider_are_large_enough_for_a_finger() -> None:
    text = made("iris")
    button = rule(text, "button")
    for side in ("min-width", " height"):
        found = re.search(rf"{side}: (\d+)px", button)
        assert found is not None
        assert float(found[1]) >= LEAST_TARGET
    assert "height: 44px" in rule(text, ".steps input")
    phone = re.search(r"@media \(max-width: 529px\) \{(.*?)\n\}", text, re.DOTALL)
    assert phone is not None
    columns = re.search(r"repeat\((\d+), minmax\((\d+)px, 1fr\)\)", phone[1])
    assert columns is not None
    count, least = map(int, columns.groups())
    assert least >= LEAST_TARGET
    assert count * least + (count - 1) * 4 <= SCREEN
    assert ".controls > .pills" in phone[1]  # else the rule for all parts of the bar wins


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("kind", ["narrow", "wide"])
def test_numbers_on_edges_are_few_and_apart(name: str, kind: str) -> None:
    for drawing in drawings(name, kind):
        for group in drawing.iter("g"):
            if "labels" in group.get("class", ""):
                boxes = labels_of(group)
                assert len(boxes) <= 9
                assert all(is_free(a, [b]) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize("name", ["iris", "deep"])
@pytest.mark.parametrize("kind", ["narrow", "wide"])
def test_the_edges_of_a_chosen_unit_have_their_numbers(name: str, kind: str) -> None:
    for drawing in drawings(name, kind):
        for group in drawing.iter("g"):
            if group.get("data-for"):
                assert len(list(group.iter("text"))) >= 3, drawing.get("aria-label")


@pytest.mark.parametrize("name", ["company", "iris", "deep"])
def test_the_halo_of_a_name_does_not_cut_its_circle(name: str) -> None:
    halo = float(re.search(r"stroke-width: (\d+)px", rule(made(name), ".unit .name"))[1]) / 2  # type: ignore[index]
    for drawing in drawings(name, "narrow"):
        for unit in drawing.iter("g"):
            circle, names = unit.find("circle"), unit.findall("text[@class='name']")
            if circle is None or float(names[-1].attrib["y"]) > float(circle.attrib["cy"]):
                continue
            top = float(circle.attrib["cy"]) - float(circle.attrib["r"])
            assert float(names[-1].attrib["y"]) + 0.25 * FONT + halo <= top


def test_the_sizes_of_the_network_stay_on_one_line() -> None:
    assert "4\u2060–\u20605\u2060–\u20603 units" in made("iris")


def test_a_drawing_that_is_wider_than_a_phone_says_that_it_scrolls() -> None:
    example = build("six", [3, 5, 5, 4, 3, 2], "tanh", "squared_error", [1, 2, 3], [[1, 0]])
    text = explain_page(example, list(trace_steps(example, 1)))
    assert text.count("<span class='sideways'>") == text.count("<section")
    assert "<span class='sideways'>" not in made("company")
    fits = all(float(d.attrib["viewBox"].split()[2]) <= SCREEN for d in drawings("deep", "narrow"))
    assert ("<span class='sideways'>" not in made("deep")) == fits
    assert re.search(r"@media \(max-width: 529px\) \{[^@]*\.sideways \{ display: inline; \}", text)
    assert "overflow-x: auto" in rule(text, ".scroll")
    assert text.count('</h2><figure><div class="scroll" tabindex="0"') == text.count("<section")


def test_a_number_in_a_table_is_never_broken_in_two() -> None:
    assert "white-space: nowrap" in rule(made("iris"), "td [data-n]")
    assert re.search(r'<td[^>]*><span><span data-n="', made("iris"))
