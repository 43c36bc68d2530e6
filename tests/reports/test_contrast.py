"""Texts and marks of the pages stand out from their ground, also for the colour-blind."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from gpubp.reports.series import COLOURS, DASHES, MARKS
from tests.reports.pages import NAMES, SCHEMES, colours_of, main_of, page_of, rules_of, style_of

LEAST_TEXT, LEAST_MARK = 4.5, 3.0  # WCAG 2.2, criteria 1.4.3 and 1.4.11
GROUNDS = ("ground", "panel")
# Marks without a meaning of their own: grid lines, separators, halos in the colour of the ground.
DECORATION = {".axis", ".curves .axis", ".unit rect", ".mark", ".halo", ".start", ".hatch"}
HALOS = {".unit .name", ".labels text", "svg text.case", ".unit circle", ".unit rect"}
# Colours for people who lack one kind of cones: Machado, Oliveira and Fernandes, IEEE
# Transactions on Visualization and Computer Graphics 15 (2009), severity 1, for linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: str) -> np.ndarray:
    """The linear RGB (3,) of #rrggbb."""
    c = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours by WCAG, 1 to 21."""
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (3,) of linear RGB under D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a: str, b: str, vision: str) -> float:
    """CIE76 difference of two colours; 2.3 can just be noticed."""
    seen = [lab(np.array(VISION[vision]) @ linear(c)) for c in (a, b)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def variable(value: str) -> str | None:
    """The name of the custom property that a value ends in, None for "none" and the like."""
    found = re.search(r"var\(--([\w-]+)\)$", value)
    return found[1] if found else None


def test_the_formula_gives_the_ratios_of_wcag() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
def test_text_stands_out_from_its_ground(name: str, scheme: str) -> None:
    colours, found = colours_of(name, scheme), 0
    for selector, properties in rules_of(name):
        kind = "fill" if "text" in selector else "color"
        ink = variable(properties.get(kind, ""))
        if ink is None:
            continue
        found += 1
        own = variable(properties.get("background", ""))
        for ground in (own,) if own else GROUNDS:
            ratio = contrast(colours[ink], colours[ground])
            assert ratio >= LEAST_TEXT, (selector, ink, ground, ratio)
    assert found >= 8


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
def test_marks_stand_out_from_their_ground(name: str, scheme: str) -> None:
    colours, found = colours_of(name, scheme), 0
    for selector, properties in rules_of(name):
        keys = ["border"] if selector == "button" else ["outline"]
        keys += [] if selector in HALOS | DECORATION else ["stroke", "fill"]
        keys += ["stroke"] if selector == ".unit circle" else []
        for key in keys:
            ink = variable(properties.get(key, ""))
            if ink is None or ("hollow" in selector and key == "fill"):
                continue
            found += 1
            for ground in GROUNDS:
                ratio = contrast(colours[ink], colours[ground])
                assert ratio >= LEAST_MARK, (selector, ink, ground, ratio)
    assert found >= 8


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_half_transparent_or_has_a_colour_of_its_own(name: str) -> None:
    text = re.sub("<script.*?</script>", "", page_of(name), flags=re.DOTALL)
    assert "opacity" not in text
    style = re.sub(r"--[\w-]+: #[0-9a-f]{6}", "", style_of(name))
    assert not re.search(r"#[0-9a-f]{3,6}\b|rgba?\(|hsl", style)
    for part in main_of(name).iter():
        for key in ("fill", "stroke", "color"):
            assert part.get(key, "url").startswith("url"), part.attrib


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_colours_differ_for_the_colour_blind(scheme: str, vision: str) -> None:
    colours = colours_of("bench", scheme)
    series = [colours[f"series-{k}"] for k in range(1, COLOURS + 1)]
    for a, b in combinations(series, 2):
        assert distance(a, b, vision) >= 15, (a, b)
    for a, b in combinations(series[:4], 2):
        assert distance(a, b, vision) >= 30, (a, b)
    assert distance(colours["forward"], colours["backward"], vision) >= 60


def test_series_differ_without_colour() -> None:
    looks = [(DASHES[k], MARKS[k % len(MARKS)]) for k in range(COLOURS)]
    assert len(set(DASHES)) == len(set(looks)) == COLOURS
    for name, count in (("search", 4), ("bench", COLOURS)):
        rules = dict(rules_of(name))
        dashes = [rules[f".curve.series-{k + 1}"]["stroke-dasharray"] for k in range(count)]
        assert dashes == list(DASHES[:count])


def test_negative_weights_are_dashed_and_lines_keep_one_colour() -> None:
    rules = dict(rules_of("xor"))
    assert rules[".edges .minus"] == {"stroke-dasharray": "9 3"}
    assert "Dashed: negative." in page_of("xor")
    lines = [part for part in main_of("xor").iter("line") if part.get("data-w")]
    assert {part.get("class") for part in lines} == {None, "minus"}
