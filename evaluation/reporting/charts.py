"""Charts as inline SVG: matplotlib draws, and the result is made to live in a page.

A chart's colours become CSS variables (so it follows dark and light), its text stays text in the page's font, its
data marks carry the class `mark`, and the same figures give the same bytes.
"""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from evaluation.arms import HEADLINE_ARM, ArmName
from evaluation.gains import Gain
from evaluation.reporting.palette import ACCENT, INK, LINE, MUTED, PAGE_COLOURS, ArmStyle, arm_style, css_variables
from evaluation.reporting.report import RegimeReport, in_points
from evaluation.statistics import mean_interval

WIDTH = 5.2  # inches: 374 units of the SVG, so that text is readable on a phone
SVG = "http://www.w3.org/2000/svg"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
MAX_TICKS = 7
STYLE: Any = {
    "svg.hashsalt": "augmentation-gain",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.unicode_minus": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
    "ytick.left": False,
    "legend.frameon": False,
}
_ON_PAGE = {"facecolor": PAGE_COLOURS["--page"][0], "edgecolor": "none", "pad": 1.5}
_VARIABLES = {light: f"var({name})" for name, (light, _) in css_variables().items()}


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One interval of a forest plot; gains are shares, drawn as points."""

    label: str
    gain: Gain
    arm: ArmName


@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """A GAN's training: one entry per written epoch."""

    steps: Sequence[int]
    discriminator_losses: Sequence[float]
    generator_losses: Sequence[float]
    kernel_distances: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class ClassBar:
    """The gain of one class in points: mean over replicates, a value for each, and the interval where there is one."""

    label: str
    mean: float
    values: Sequence[float]
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class TrendLine:
    """The headline gain of several runs in one regime; None where a run lacks the regime or the interval."""

    label: str
    means: Sequence[float | None]
    intervals: Sequence[tuple[float, float] | None]


def forest_chart(rows: Sequence[ForestRow], *, name: str, description: str) -> Markup:
    """Draw gains with their intervals, the replicates as small dots, and a line at no difference."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6 + 0.62 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        for place, row in enumerate(rows):
            style, mean = arm_style(row.arm), 100 * row.gain.mean
            if row.gain.low is not None and row.gain.high is not None:
                axes.plot([100 * row.gain.low, 100 * row.gain.high], [place, place], color=style.light, linewidth=2.5)
            dots = [100 * value for value in row.gain.values]
            axes.plot(dots, [place + 0.22] * len(dots), ".", color=MUTED, markersize=4)
            _mark(axes, mean, place, style=style, size=7, name=_clean(row.label))
            texts = ((0, _shorten(row.label, 44), "left"), (1, _points_with_interval(row.gain), "right"))
            for edge, text, side in texts:
                axes.annotate(
                    text, (edge, place - 0.28), xycoords=("axes fraction", "data"), ha=side, va="center", bbox=_ON_PAGE
                )
        axes.set_yticks([])
        axes.set_ylim(len(rows) - 0.6, -0.55)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("gain in points of accuracy (right of 0: better)", fontsize=9)
        return _inline(figure, name=name, description=description)


def accuracy_chart(
    regimes: Sequence[RegimeReport], arms: Sequence[ArmName], *, confidence: float, num_test: int, name: str
) -> Markup:
    """Draw accuracy against images per class for every arm, each mean with its own interval.

    The axis is logarithmic in the error: from 90 to 99 % is as far as from 99 to 99.9 %. An arm without any error
    is drawn at half a test image.
    """
    least = 50 / num_test  # percent
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.set_yscale("log")
        for order, arm in enumerate(arms):
            style = arm_style(arm)
            shift = 0.09 * (order - (len(arms) - 1) / 2)
            having = [(place, regime, found) for place, regime in enumerate(regimes) if (found := regime.arm(arm))]
            places = [place + shift for place, _, _ in having]
            spreads = [found.accuracy for _, _, found in having]
            errors = [max(100 * (1 - spread.mean), least) for spread in spreads]
            for place, spread, (_, regime, _) in zip(places, spreads, having, strict=True):
                interval = mean_interval(spread, confidence=confidence, shared=regime.design.shared)
                if interval is not None:
                    ends = [max(100 * (1 - min(end, 1.0)), least) for end in interval]
                    axes.plot([place, place], ends, color=style.light, linewidth=1.6)
            wide = 1.8 if arm == HEADLINE_ARM else 1.0
            axes.plot(places, errors, color=style.light, linewidth=wide, alpha=0.75)
            for place, error, (_, regime, _) in zip(places, errors, having, strict=True):
                _mark(axes, place, error, style=style, size=5.5, name=f"{arm}, {regime.title}")
        means = [100 * (1 - arm.accuracy.mean) for regime in regimes for arm in regime.arms]
        low, high = max(min(means), least) / 1.6, min(max(means) * 1.25 + least, 100)
        axes.set_ylim(high, low)
        axes.set_yticks(_error_ticks(low, high))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:g} %"))
        axes.set_xticks(range(len(regimes)), [regime.title for regime in regimes])
        axes.set_xlim(-0.5, len(regimes) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("labelled images", fontsize=9)
        return _inline(figure, name=name, description=_accuracy_description(regimes))


def training_chart(curve: TrainingCurve, *, name: str, description: str) -> Markup:
    """Draw both players' losses, and below them how far the samples are from real images."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        losses, distances = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        lines = (
            ("discriminator", curve.discriminator_losses, MUTED, "--", "s"),
            ("generator", curve.generator_losses, ACCENT, "-", "o"),
        )
        for label, values, colour, line, marker in lines:
            losses.plot(
                curve.steps, values, line, color=colour, marker=marker, markersize=3.5, label=label, gid=f"mark:{label}"
            )
        losses.set_ylabel("loss", fontsize=9)
        losses.legend(loc="upper left", bbox_to_anchor=(0, 1.25), ncols=2, fontsize=9)
        distances.plot(
            curve.steps, curve.kernel_distances, color=ACCENT, marker="o", markersize=3.5, gid="mark:kernel distance"
        )
        distances.set_ylim(bottom=min(0.0, *curve.kernel_distances))
        distances.set_ylabel("distance", fontsize=9)
        distances.set_xlabel("training step", fontsize=9)
        distances.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for axes in (losses, distances):
            axes.yaxis.set_major_locator(MaxNLocator(4))
        return _inline(figure, name=name, description=description)


def class_chart(bars: Sequence[ClassBar], *, name: str, description: str) -> Markup:
    """Draw the gain of each class as a bar from 0, the replicates as small dots."""
    style = arm_style(HEADLINE_ARM)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.7 + 0.24 * len(bars)), layout="constrained")
        axes = figure.subplots()
        for place, bar in enumerate(bars):
            axes.barh(place, bar.mean, height=0.62, color=style.light)[0].set_gid(f"mark:{_clean(bar.label)}")
            if bar.interval is not None:
                axes.plot(bar.interval, [place, place], color=MUTED, linewidth=1.2)
            axes.plot(bar.values, [place] * len(bar.values), ".", color=INK, markersize=3.5)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(bars)), [_shorten(bar.label, 18) for bar in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("change in points of the class's images recognised", fontsize=9)
        return _inline(figure, name=name, description=description)


def trend_chart(line: TrendLine, *, names: Sequence[str], name: str, description: str) -> Markup:
    """Draw one regime's headline gain over the runs, in points, each with its interval."""
    style = arm_style(HEADLINE_ARM)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.2), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        known = [(place, 100 * mean) for place, mean in enumerate(line.means) if mean is not None]
        axes.plot([place for place, _ in known], [mean for _, mean in known], color=style.light, linewidth=1, alpha=0.6)
        for place, mean in known:
            interval = line.intervals[place]
            if interval is not None:
                axes.plot([place, place], [100 * end for end in interval], color=style.light, linewidth=2.2)
            _mark(axes, place, mean, style=style, size=6.5, name=_clean(names[place]))
        axes.set_xticks(range(len(names)), [str(place + 1) for place in range(len(names))])
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("run (numbered as in the table)", fontsize=9)
        axes.set_ylabel("gain, points", fontsize=9)
        return _inline(figure, name=name, description=description)


def sparkline(values: Sequence[float], *, name: str, description: str) -> Markup:
    """Draw a word-sized line of gains (shares) over time, with a line at 0 and its last value marked."""
    style = arm_style(HEADLINE_ARM)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.9, 0.42))
        axes = figure.add_axes((0.03, 0.1, 0.94, 0.8))
        axes.set_axis_off()
        points = [100 * value for value in values]
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.plot(points, color=style.light, linewidth=1.4)
        for place, point in enumerate(points):
            size = 5.5 if place == len(points) - 1 else 2.5
            _mark(axes, place, point, style=style, size=size, name=str(place))
        axes.margins(x=0.06, y=0.2)
        return _inline(figure, name=name, description=description)


def _points_with_interval(gain: Gain) -> str:
    if gain.low is None or gain.high is None:
        return f"{in_points(gain.mean)}"
    return f"{in_points(gain.mean)}  [{in_points(gain.low)}, {in_points(gain.high)}]"


def _error_ticks(low: float, high: float) -> list[float]:
    """Return round errors (percent) within an axis, as many as fit without crowding."""
    for digits in ((1, 1.5, 2, 3, 5, 7), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3)):
        ticks = [digit * 10.0**power for power in range(-4, 2) for digit in digits]
        shown = [tick for tick in ticks if low <= tick <= high]
        if len(shown) <= MAX_TICKS:
            return shown
    return [10.0**power for power in range(-4, 2) if low <= 10.0**power <= high]


def _accuracy_description(regimes: Sequence[RegimeReport]) -> str:
    parts = [
        f"{regime.title}: " + ", ".join(f"{arm.name} {100 * arm.accuracy.mean:.2f} %" for arm in regime.arms)
        for regime in regimes
    ]
    return "Test accuracy of each arm. " + "; ".join(parts) + "."


def _mark(axes: Axes, x: float, y: float, *, style: ArmStyle, size: float, name: str) -> None:
    """Draw an arm's mark, which the page's script finds by its name."""
    axes.plot([x], [y], marker=style.marker, linestyle="none", color=style.light, markersize=size, gid=f"mark:{name}")


def _clean(text: str) -> str:
    """Replace what XML cannot hold: class and run names come from outside."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _shorten(label: str, limit: int) -> str:
    label = _clean(label)
    return label if len(label) <= limit else label[: limit - 1] + "…"


def _inline(figure: Figure, *, name: str, description: str) -> Markup:
    """Return `figure` as an `<svg>` element for a page, with ids that start with `name` and an alternative text."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    ET.register_namespace("", SVG)
    root = ET.fromstring(stream.getvalue())
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    parents = {child: parent for parent in root.iter() for child in parent}
    for sheet in list(root.iter(f"{{{SVG}}}style")):
        parents[sheet].remove(sheet)
    referenced = {element.get(XLINK_HREF, "")[1:] for element in root.iter()} | {
        found for element in root.iter() for found in re.findall(r"url\(#([^)]+)\)", element.get("clip-path", ""))
    }
    for element in root.iter():
        _settle(element, name=name, referenced=referenced)
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.set("class", "chart")
    root.set("role", "img")
    root.set("aria-label", _clean(description))
    root.set("style", f"max-width:{figure.get_figwidth() * 7:.0f}rem")
    return Markup(ET.tostring(root, encoding="unicode"))  # ElementTree has escaped every text


def _settle(element: ET.Element, *, name: str, referenced: set[str]) -> None:
    identity = element.attrib.pop("id", "")
    if identity.startswith("mark:"):
        element.set("class", "mark")
        element.set("data-mark", identity.removeprefix("mark:"))
    elif identity and identity in referenced:
        element.set("id", f"{name}-{identity}")
    target = element.attrib.pop(XLINK_HREF, None)
    if target is not None:
        element.set("href", f"#{name}-{target[1:]}")
    if "clip-path" in element.attrib:
        element.set("clip-path", element.attrib["clip-path"].replace("url(#", f"url(#{name}-"))
    if "d" in element.attrib:
        element.set("d", " ".join(element.attrib["d"].split()))
    if "style" in element.attrib:
        kept = [part for part in element.attrib["style"].split("; ") if not part.startswith("font-family")]
        style = re.sub(r"#[0-9a-f]{6}", lambda found: _VARIABLES.get(found.group(), found.group()), "; ".join(kept))
        element.set("style", style)
