"""A report's figures on matplotlib's axes, with the colours and markers that the report's page gives the arms."""

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot
from matplotlib.axes import Axes

from data.base.errors import UsageError
from evaluation.arms import HEADLINE_ARM
from evaluation.gains import Gain
from evaluation.reporting.palette import INK, LINE, MUTED, arm_style
from evaluation.reporting.report import StudyReport

MAX_COLUMNS = 10


def plot_gains(report: StudyReport, ax: Axes | None = None) -> Axes:
    """Draw the GAN's gain over each arm that needs no GAN, in points with intervals; the best of these is bold.

    Replicates are small dots. The band is what counts as no gain worth having.
    """
    rows: list[tuple[str, Gain, bool]] = []
    for regime in report.regimes:
        title = f"{regime.title}: " if len(report.regimes) > 1 else ""
        rows += [
            (f"{title}over {rival}", regime.headline if rival == regime.over else gain, rival == regime.over)
            for rival, gain in regime.rivals.items()
        ]
    axes = _axes(ax, width=6.4, height=1.0 + 0.5 * len(rows))
    wished = 100 * float(report.config["evaluation"]["wished_gain"])
    axes.axvspan(-wished, wished, color=LINE, alpha=0.4, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1, linestyle="--")
    style = arm_style(HEADLINE_ARM)
    for place, (_, gain, _) in enumerate(rows):
        axes.plot(
            [100 * value for value in gain.values], [place + 0.2] * len(gain.values), ".", color=MUTED, markersize=4
        )
        if gain.low is not None and gain.high is not None:
            axes.plot([100 * gain.low, 100 * gain.high], [place, place], color=style.light, linewidth=2.5)
        axes.plot([100 * gain.mean], [place], marker=style.marker, linestyle="none", color=style.light)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    for tick, (_, _, is_headline) in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if is_headline else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"gain of {HEADLINE_ARM} in points of accuracy")
    axes.set_title(report.dataset.name, loc="left", fontsize=10, parse_math=False)
    return axes


def plot_accuracies(report: StudyReport, ax: Axes | None = None) -> Axes:
    """Draw the accuracy of every arm in percent, by regime: means, with replicates as small dots."""
    axes = _axes(ax, width=6.4, height=3.6)
    arms = report.arms
    for order, arm in enumerate(arms):
        style = arm_style(arm)
        shift = 0.6 * (order - (len(arms) - 1) / 2) / len(arms)
        having = [(place + shift, found) for place, regime in enumerate(report.regimes) if (found := regime.arm(arm))]
        for place, found in having:
            values = [100 * value for value in found.accuracy.values]
            axes.plot([place] * len(values), values, ".", color=style.light, alpha=0.4, markersize=4)
        means = [100 * found.accuracy.mean for _, found in having]
        places = [place for place, _ in having]
        axes.plot(places, means, marker=style.marker, linestyle="none", color=style.light, label=arm, markersize=6)
    axes.set_xticks(range(len(report.regimes)), [regime.title for regime in report.regimes])
    axes.set_ylabel("accuracy in %")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    axes.set_title(report.dataset.name, loc="left", fontsize=10, parse_math=False)
    return axes


def plot_images(images: npt.NDArray[np.uint8], labels: npt.ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """Draw images, ten in a row, and above each its label where there are labels.

    Args:
        images: (N, H, W) or (N, H, W, C) uint8, C = 1 or 3, such as `sample` returns.

    Raises:
        UsageError: no images, of another shape, or another number of labels.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not len(images):
        raise UsageError(f"images must be (N, H, W) or (N, H, W, C) with C = 1 or 3, not {images.shape}")
    names = None if labels is None else [str(label) for label in np.asarray(labels).tolist()]
    if names is not None and len(names) != len(images):
        raise UsageError(f"there are {len(images):,} images with {len(names):,} labels; give one for each")
    columns = min(MAX_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    _, height, width, channels = images.shape
    top = 0 if names is None else max(3, height // 3)
    sheet = np.full((rows * (height + top), columns * (width + 1), channels), 255, np.uint8)
    axes = _axes(ax, width=0.7 * columns, height=0.7 * rows * (height + top) / width)
    for number, image in enumerate(images):
        y, x = number // columns * (height + top) + top, number % columns * (width + 1)
        sheet[y : y + height, x : x + width] = image
        if names is not None:
            axes.text(x + width / 2, y - 1, names[number], ha="center", va="bottom", fontsize=7, parse_math=False)
    axes.imshow(sheet.squeeze(2) if channels == 1 else sheet, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    return axes


def _axes(ax: Axes | None, *, width: float, height: float) -> Axes:
    if ax is not None:
        return ax
    made: Axes = pyplot.subplots(figsize=(width, height), layout="constrained")[1]
    return made
