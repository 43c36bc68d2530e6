"""Curves as one line of text."""

from __future__ import annotations

import math

from gpubp.reports.sparkline import ASCII, BLOCKS, WIDTH, Sparklines, sparkline
from gpubp.training.history import Epoch


def epoch(number: int, loss: float, score: float | None = None, **more: float) -> Epoch:
    held, member = more.get("validation_loss"), more.get("member")
    whole = None if member is None else int(member)
    return Epoch(number, loss, score, True, 0.1, 1.0, 10, validation_loss=held, member=whole)


def test_heights_are_those_of_the_values() -> None:
    assert sparkline([8, 7, 6, 5, 4, 3, 2, 1]) == BLOCKS[::-1]
    assert sparkline([1, 2]) == "▁█"
    assert sparkline([3, 3, 3]) == "▁▁▁"
    assert sparkline([-1, 1, 0]) == "▁█▅"


def test_a_wide_range_is_logarithmic() -> None:
    line = sparkline([1000, 100, 10, 1])
    assert line == "█▆▃▁"
    assert sparkline([1000, 100, 10, 0]) == "█▁▁▁"  # 0 has no logarithm


def test_many_values_become_few_bars() -> None:
    line = sparkline(range(1000))
    assert len(line) == WIDTH
    assert line == "".join(sorted(line))
    assert (line[0], line[-1]) == ("▁", "█")


def test_values_that_are_not_finite() -> None:
    assert sparkline([1, math.nan, 2]) == "▁?█"
    assert sparkline([math.inf, math.nan]) == "??"
    assert sparkline([]) == ""


def test_an_encoding_without_blocks_gets_ascii() -> None:
    assert sparkline([1, 2], "ascii") == sparkline([1, 2], "latin-1") == ASCII[0] + ASCII[-1]
    assert sparkline([1, 2], "no such encoding").isascii()
    assert sparkline([1, 2], "cp437").isascii()  # which has only some of the blocks


def test_loss_and_score_of_a_training() -> None:
    curves = Sparklines()
    for number, loss, score in ((1, 0.8, 0.5), (2, 0.4, 0.9)):
        curves.add(epoch(number, loss, score))
    assert curves.lines("utf-8") == {"loss": "0.800 █▁ 0.400", "validation": "0.500 ▁█ 0.900"}


def test_a_validation_loss_is_shown_as_a_loss() -> None:
    curves = Sparklines()
    for number, loss in ((1, 0.8), (2, 0.004)):
        curves.add(epoch(number, loss, -loss, validation_loss=loss))
    assert curves.lines("utf-8")["validation"] == "0.800 █▁ 0.004"


def test_one_epoch_has_no_curve() -> None:
    curves = Sparklines()
    assert curves.lines("utf-8") == {}
    curves.add(epoch(1, 0.5))
    assert curves.lines("utf-8") == {}


def test_members_are_averaged_and_a_stopped_one_counts_with_its_last_epoch() -> None:
    curves = Sparklines()
    curves.add(epoch(1, 1.0, member=0))
    curves.add(epoch(1, 3.0, member=1))
    curves.add(epoch(2, 2.0, member=1))
    assert curves.lines("utf-8") == {"loss": "2.000 █▁ 1.500"}
