"""The plot of a build's rate: of a build of any length, as an image that needs no other request."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest

from imagemill.flows.run.report.rate import MAX_POINTS, RateHistory, rate_section


def history(*points: tuple[float, int]) -> RateHistory:
    made = RateHistory()
    for seconds, generated in points:
        made.add(seconds, generated)
    return made


def test_the_rate_is_that_of_each_span_of_time():
    assert list(history((10, 0), (20, 40), (40, 60)).rates()) == [(0, 10, 0), (10, 20, 4), (20, 40, 1)]


def test_two_looks_at_nearly_the_same_time_make_no_spike():
    assert list(history((10, 10), (20, 20), (20.1, 24)).rates()) == [(0, 10, 1), (10, 20.1, pytest.approx(14 / 10.1))]


def test_a_build_of_any_length_has_a_plot_of_as_many_points():
    made = history(*((5 * number, 10 * number) for number in range(1, 25_000)))
    spans = list(made.rates())
    assert MAX_POINTS / 3 < len(spans) <= MAX_POINTS
    assert (spans[0][0], spans[-1][1]) == (0, 5 * 24_999)
    assert all(rate == pytest.approx(2) for _, _, rate in spans)


def test_the_plot_is_an_image_within_the_report():
    section = rate_section(history((10, 0), (20, 40), (30, 60)), "30 s")
    (image,) = re.findall(r"!\[Images per second\]\(data:image/svg\+xml;base64,([^)]+)\)", section)
    svg = ElementTree.fromstring(base64.b64decode(image))
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["at most 4 images/s", "start", "30 s"]
    assert len(section) < 3_000


@pytest.mark.parametrize("points", [[], [(10, 0)], [(10, 0), (20, 0)]])
def test_a_build_that_has_generated_nothing_has_no_plot(points: list[tuple[float, int]]):
    assert rate_section(history(*points), "20 s") == ""
