"""The report stands alone and shows the numbers that metrics.json holds."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from any2seg_core.demo.schedule import demo_phases
from any2seg_core.demo.scoring import DemoScores, PhaseScore, TimelinePoint
from any2seg_core.evaluation.frame_views import FrameView
from any2seg_core.reports import demo as outcome
from any2seg_core.reports.document import Report, Section, Sheet, SheetRow, Table, Terms, picture
from any2seg_core.reports.timeline import Lane, Panel, Span, Timeline, nice_top
from any2seg_core.vocabulary.labels import DELIVER

PHASES = demo_phases(2.0)
METADATA = {"model": {"encoder": "mit_b0"}, "provenance": {"seed": 3}, "contract": {"label_space": "deliver-25"}}


class Elements(HTMLParser):
    """Collects start tags; `open` is empty at the end of a well-formed document."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture()
def scores():
    phases = [
        PhaseScore(phase, 20, 19 - index, 50.0 + index, 12, 80.0 + index, 120.0, 210.0, {"RDEL": 19 - index})
        for index, phase in enumerate(PHASES)
    ]
    nan = float("nan")
    timeline = [TimelinePoint(0.1 * i, 60.0 if i % 5 else nan, 90.0 + i, ("rgb",)) for i in range(100)]
    return DemoScores(phases, timeline)


@pytest.fixture()
def html(scores):
    random = np.random.default_rng(0)
    planes = {name: random.integers(0, 256, (19, 27, 3), np.uint8) for name in ("rgb", "depth", "event")}
    views = [FrameView("all", "1.0 s; fused <all>", planes, random.integers(0, 25, (19, 27), np.uint8), None)]
    document = outcome.metrics_document(scores, METADATA, "any2seg demo --out 'a b'")
    return outcome.demo_report(scores, views, document, DELIVER).html()


def test_value_report_refers_to_nothing_outside_itself(html):
    for tag, attributes in Elements(html).tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href", "xlink:href", "srcset"):
            if name in attributes:
                assert attributes[name].startswith("data:image/"), (tag, name)
    assert not re.search(r"https?://|@import|url\((?!#)", html)


def test_value_report_is_well_formed_and_escaped(html):
    assert Elements(html).open == []
    assert "fused &lt;all&gt;" in html
    assert "fused <all>" not in html


def test_value_table_shows_the_numbers_of_the_metrics(html, scores):
    document = outcome.metrics_document(scores, METADATA, "any2seg demo")
    assert [entry["name"] for entry in document["phases"]] == [phase.name for phase in PHASES]
    for entry in document["phases"]:
        assert f'<td class="right">{entry["miou_present"]:.1f} ({entry["classes"]})</td>' in html
        assert f'<td class="right">{entry["latency_p50_ms"]:.0f} / {entry["latency_p95_ms"]:.0f}</td>' in html
        assert f'<td class="right">{entry["labels_out"]}</td>' in html


def test_value_metrics_are_strict_json_with_null_for_nothing(scores):
    document = outcome.metrics_document(scores, METADATA, "any2seg demo")
    loaded = json.loads(json.dumps(document, allow_nan=False))
    assert loaded["timeline"][0]["miou_present"] is None
    assert loaded["timeline"][1]["miou_present"] == 60.0
    assert loaded["versions"]["numpy"] == np.__version__
    assert loaded["checkpoint"]["provenance"] == {"seed": 3}


def test_value_timeline_draws_every_label_and_hatches_every_outage(scores):
    svg = outcome.timeline_svg(scores)
    with_truth = sum(point.miou_present == point.miou_present for point in scores.timeline)
    assert svg.count("<circle") == with_truth + len(scores.timeline)
    assert svg.count('fill="url(#silent)"') == sum(len(phase.dead) for phase in PHASES)
    assert svg.count('class="night"') == 1


def test_value_points_lie_where_time_and_value_say():
    panel = Panel("value", "unit", [(0.0, 0.0, "low"), (10.0, 50.0, "high"), (5.0, 999.0, "clipped")], (), 50.0)
    svg = Timeline([Span(0.0, 10.0)], [Lane("camera", "#123456")], [panel]).svg()
    circles = [tuple(map(float, pair)) for pair in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]
    (x0, y0), (x1, y1), (x2, y2) = circles
    assert x1 > x0
    assert x2 == pytest.approx((x0 + x1) / 2, abs=0.1)
    assert y0 - y1 == pytest.approx(130.0)
    assert y2 == y1


def test_value_a_single_moment_has_a_time_axis_too():
    """Of one second: 980 wide with margins of 92 and 14, in steps of a tenth (0.1 is the first above 1/12)."""
    panel = Panel("value", "unit", [(0.0, 50.0, "now")])
    svg = Timeline([Span(0.0, 0.0, "all")], [Lane("camera", "#123456", (Span(0.0, 0.0),))], [panel]).svg()
    assert re.findall(r'<circle cx="([\d.]+)"', svg) == ["92.0"]
    assert re.findall(r'<rect x="92.0" y="\d+" width="([\d.]+)"', svg) == ["874.0", "0.0"]
    assert len(re.findall(r'class="middle muted"', svg)) == 11


def test_value_the_title_of_a_panel_stands_above_the_numbers_of_its_scale():
    panel = Panel("latency", "ms per label", [(0.0, 100_000.0, "")], (), 100_000.0)
    svg = Timeline([Span(0.0, 1.0)], [], [panel, panel]).svg()
    titles = [float(y) for y in re.findall(r'y="([\d.]+)" class="strong">latency, ms per label<', svg)]
    scale = [float(y) - 4 for y in re.findall(r'y="([\d.]+)" class="end muted">100000<', svg)]
    assert len(titles) == len(scale) == 2
    for title, top in zip(titles, scale, strict=True):
        assert title < top  # its letters end above the line of the largest number, and so above the number


@pytest.mark.parametrize(("values", "top"), [([3.0, 7.1], 7.5), ([100.0], 100.0), ([float("nan")], 1.0), ([210], 300)])
def test_value_nice_top(values, top):
    assert nice_top(values) == pytest.approx(top)


def test_value_label_pictures_keep_their_exact_colours():
    labels = np.random.default_rng(0).integers(0, 25, (31, 17), np.uint8)
    colours = DELIVER.colourise(labels)
    uri = picture(colours, is_exact=True)
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB"))
    np.testing.assert_array_equal(decoded, colours)


def test_value_sheet_says_off_where_a_sensor_was_taken_away():
    plane = np.zeros((5, 7, 3), np.uint8)
    sheet = Sheet(["camera", "prediction"], [SheetRow("no camera", "", (None, plane))], ["prediction"])
    html = Report("t", "", [Section("s", [sheet])]).html()
    assert html.count("<img") == 1
    assert html.count(">off<") == 1


def test_exception_table_rows_must_fit_the_columns():
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        Table(("a", "b"), [("1",)])


def test_value_every_text_of_a_document_is_escaped_and_its_parts_come_in_order():
    wild = "<b>&\"'"
    table = Table((wild, "x"), [(wild, "1")])
    report = Report(wild, wild, [Section(wild, [table, Terms([(wild, wild)])], wild)], [(wild, wild)], wild, [wild])
    html = report.html()
    assert "<b>&" not in html.replace("<b>&lt;b&gt;", "")
    assert html.count("&lt;b&gt;&amp;&#34;&#39;") == 13
    assert Elements(html).open == []
    headings = re.findall("<h[12]>(.*?)</h[12]>", html)
    assert [headings[1], headings[-1]] == ["Facts", "Problems"]
    assert html.index("1 problem, named at the end") < html.index("Facts")


def test_value_markdown_has_the_same_cells():
    section = Section("Scores", [Table(("sensors", "mIoU"), [("R|D", "1.5"), ("E", "")])], "In percent.")
    text = Report("Title", "Words.", [section], [("data", "a|b")], "any2seg x", ["broken"]).markdown()
    assert text == (
        "# Title\n\nWords.\n\n    any2seg x\n\n| fact | |\n| --- | --- |\n| data | a\\|b |\n\n## Scores\n\nIn percent."
        "\n\n| sensors | mIoU |\n| --- | ---: |\n| R\\|D | 1.5 |\n| E |  |\n\n## Problems\n\n- broken\n"
    )
    assert "|---" not in text and "\n\n\n" not in text


def test_value_large_pictures_are_made_small_and_stay_of_exact_colours():
    colours = DELIVER.colourise(np.random.default_rng(0).integers(0, 25, (300, 1024), np.uint8))
    shown = Image.open(io.BytesIO(base64.b64decode(picture(colours, is_exact=True).split(",", 1)[1]))).convert("RGB")
    assert shown.size == (512, 150)
    assert set(map(tuple, np.asarray(shown).reshape(-1, 3))) <= set(DELIVER.colours)
