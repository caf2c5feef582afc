"""One colour and one marker per arm, the same on every page and in every chart.

The colours of the default arms are Okabe & Ito's ("Color Universal Design", 2008), which people with any common colour
blindness tell apart; the orange is darkened on light pages, where it would be too pale. That palette has no more than
those, so arms on request have further ones. No chart tells arms apart by colour alone.
"""

from dataclasses import dataclass

from evaluation.arms import ARMS, ArmName, default_arms


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


_LOOKS = (  # light, dark, marker, symbol: in the order of `arm_style`; more arms than these share colours, not markers
    ("#5b6470", "#a3adb9", "s", "■"),
    ("#0072b2", "#56b4e9", "o", "●"),
    ("#b87a00", "#e69f00", "^", "▲"),
    ("#008a65", "#1fbf93", "D", "◆"),
    ("#857800", "#f0e442", "P", "✚"),
    ("#8a5a3c", "#c99f80", "<", "◀"),
    ("#5a4fcf", "#a9a1ff", ">", "▶"),
    ("#c0263f", "#ff8095", "*", "★"),
    ("#b3608e", "#dc94bd", "v", "▼"),
    ("#7a3b8f", "#cf9ae0", "p", "⬟"),
    ("#d55e00", "#f0803c", "X", "✖"),
)
_MORE_MARKERS = (
    ("h", "⬢"), ("d", "⬥"), ("8", "⯃"), ("H", "⬣"), ("$\\clubsuit$", "♣"), ("$\\spadesuit$", "♠"),
    ("$\\bigstar$", "⭑"), ("$\\circledast$", "⊛"),
)  # fmt: skip


def _style(place: int) -> ArmStyle:
    light, dark, marker, symbol = _LOOKS[place % len(_LOOKS)]
    if place >= len(_LOOKS):
        marker, symbol = _MORE_MARKERS[place % len(_MORE_MARKERS)]
    return ArmStyle(variable=f"--arm-{place}", light=light, dark=dark, marker=marker, symbol=symbol)


def arm_style(arm: ArmName) -> ArmStyle:
    """Return how an arm is drawn: arms that every study has come first, so that they differ in colour."""
    usual = default_arms()
    return _style([*usual, *(other for other in ARMS if other not in usual)].index(arm))


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
    styles = [arm_style(arm) for arm in ARMS]
    return PAGE_COLOURS | {style.variable: (style.light, style.dark) for style in styles}
