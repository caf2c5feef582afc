"""One colour and one marker per arm, the same on every page and in every chart.

The colours of the default arms are Okabe & Ito's ("Color Universal Design", 2008), which people with any common colour
blindness tell apart; the orange is darkened on light pages, where it would be too pale. That palette has no more than
those, so arms on request have further ones. No chart tells arms apart by colour alone.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ArmStyle:
    """How an arm is drawn.

    Attributes:
        variable: the CSS variable that holds the colour, so that a chart follows the page's mode.
        light, dark: the colour on a light and on a dark page; contrast 3 or more.
        marker: matplotlib's name of the marker.
        symbol: the character nearest to that marker, for legends in text.
    """

    variable: str
    light: str
    dark: str
    marker: str
    symbol: str


ARM_STYLES: dict[str, ArmStyle] = {
    "real": ArmStyle(variable="--arm-real", light="#5b6470", dark="#a3adb9", marker="s", symbol="■"),
    "real+classical": ArmStyle(variable="--arm-classical", light="#0072b2", dark="#56b4e9", marker="o", symbol="●"),
    "real+synthetic": ArmStyle(
        variable="--arm-synthetic-added", light="#b87a00", dark="#e69f00", marker="^", symbol="▲"
    ),
    "real+classical+synthetic": ArmStyle(
        variable="--arm-headline", light="#008a65", dark="#1fbf93", marker="D", symbol="◆"
    ),
    "real+classical+filtered": ArmStyle(
        variable="--arm-filtered", light="#857800", dark="#f0e442", marker="P", symbol="✚"
    ),
    "oversampled": ArmStyle(variable="--arm-oversampled", light="#8a5a3c", dark="#c99f80", marker="<", symbol="◀"),
    "class-weighted": ArmStyle(variable="--arm-weighted", light="#5a4fcf", dark="#a9a1ff", marker=">", symbol="▶"),
    "evened-out": ArmStyle(variable="--arm-evened-out", light="#c0263f", dark="#ff8095", marker="*", symbol="★"),
    "synthetic": ArmStyle(variable="--arm-synthetic", light="#b3608e", dark="#dc94bd", marker="v", symbol="▼"),
    "synthetic+classical": ArmStyle(
        variable="--arm-synthetic-classical", light="#7a3b8f", dark="#cf9ae0", marker="p", symbol="⬟"
    ),
    "real+duplicated": ArmStyle(variable="--arm-duplicated", light="#d55e00", dark="#f0803c", marker="X", symbol="✖"),
}
INK, MUTED, LINE, ACCENT = "#101418", "#5f6873", "#d5dae0", "#0f62ac"
PAGE_COLOURS = {"--ink": (INK, "#e9edf1"), "--muted": (MUTED, "#a4aeb9"), "--line": (LINE, "#39424c")} | {
    "--accent": (ACCENT, "#7cc0f7"),
    "--page": ("#ffffff", "#14181d"),
    "--panel": ("#f5f7f9", "#1d232a"),
    "--helps": ("#00664b", "#4fd3aa"),
    "--hurts": ("#a84300", "#ff9d63"),
}
"""CSS variable to its colour on a light and on a dark page."""


def css_variables() -> dict[str, tuple[str, str]]:
    """Return every CSS variable with its light and its dark colour."""
    return PAGE_COLOURS | {style.variable: (style.light, style.dark) for style in ARM_STYLES.values()}
