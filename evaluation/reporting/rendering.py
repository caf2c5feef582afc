"""What all pages share: templates with escaping on, one stylesheet, and figures with sensible digits and units."""

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluation.reporting.palette import arm_style, css_variables
from evaluation.reporting.report import in_points

ABSENT = "\N{EN DASH}"


def render_page(template: str, content: Mapping[str, object]) -> str:
    """Fill a template; every value is shown as text unless it is `Markup`."""
    return _environment().get_template(template).render(content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("evaluation.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "probability": probability,
        "points": points,
        "interval": interval,
        "p_value": p_value,
        "duration": duration,
        "memory": memory,
        "count": count,
        "figure": figure,
    }
    environment.globals |= {"css_variables": css_variables(), "arm_style": arm_style}
    return environment


def percent(share: float | None, digits: int = 2) -> str:
    """Show a share in [0, 1] as percent, such as `94.02 %`."""
    return ABSENT if share is None else f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def probability(value: float) -> str:
    """Show a probability as a whole percentage; one near 0 or 1 as less than 1 or more than 99 %."""
    if value < 0.01:
        return "less than 1\N{NO-BREAK SPACE}%"
    return "more than 99\N{NO-BREAK SPACE}%" if value > 0.99 else percent(value, 0)


def points(difference: float | None) -> str:
    """Show a difference of shares in percentage points, with its sign, such as `+0.42`."""
    return ABSENT if difference is None else in_points(difference)


def interval(low: float | None, high: float | None) -> str:
    """Show the ends of an interval in points, such as `+0.10 to +0.70`."""
    return "not available" if low is None or high is None else f"{points(low)} to {points(high)}"


def p_value(value: float | None) -> str:
    """Show a p-value with the digits that mean something."""
    if value is None:
        return ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """Show seconds as `0.4 s`, `12 s`, `3 min 05 s` or `2 h 07 min`."""
    if seconds is None:
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory(num_bytes: float | None) -> str:
    """Show bytes as MiB or GiB."""
    if num_bytes is None:
        return ABSENT
    mebibytes = num_bytes / 2**20
    return f"{mebibytes:,.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def count(number: float | None) -> str:
    """Show a count with thousands separated."""
    return ABSENT if number is None else f"{number:,.0f}"


def figure(value: float | None) -> str:
    """Show a figure without a unit to three digits, such as `0.0325` or `0.300`."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
