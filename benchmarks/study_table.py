"""Where the GAN adds something: one table in docs/studies.md of all finished studies, read off their reports.

`benchmarks.studies` renews a study's rows when it ends; `python -m benchmarks.studies --table` those of every run that
lies below runs/studies, without computing anything. Rows of other studies stay as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.base.files import write_text
from data.base.names import public_dataset_name
from evaluation.arms import EQUAL_COMPUTE_ARM, EVENED_OUT_ARM, HEADLINE_ARM, ArmName
from evaluation.gains import Gain
from evaluation.reporting.report import RegimeReport, StudyReport, in_points

PAGE = Path(__file__).parent.parent / "docs" / "studies.md"
BEGIN, END = "<!-- studies: begin -->", "<!-- studies: end -->"
HEADER = (
    "study", "data", "draws", "arm with the GAN", "best arm without it", "gain in points (interval)", "verdict",
    "over equal compute", "commit",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm with a GAN against the best one without.

    Attributes:
        gain: in accuracy, or in macro-F1 where `measure` says so.
    """

    arm: ArmName
    over: ArmName
    gain: Gain
    measure: str = "accuracy"


def comparisons(regime: RegimeReport) -> Iterator[Comparison]:
    """Yield what a regime's report holds of a GAN's arms against the best arm without: the headline first.

    Where there are images without labels, arms that see them are rivals too; where classes are rare, the arm that
    fills them up with the GAN's images is held against all arms without, by macro-F1.
    """
    yield Comparison(arm=HEADLINE_ARM, over=regime.over, gain=regime.headline)
    for gains in regime.unlabelled:
        if gains.arm != HEADLINE_ARM:
            best = min((gains.over_labelled, gains.over_partners), key=lambda rival: rival.gain.mean)
            yield Comparison(arm=gains.arm, over=best.over, gain=best.gain)
    if (evened := regime.evened_out) is not None:
        yield Comparison(arm=EVENED_OUT_ARM, over=evened.over, gain=evened.gain, measure="macro-F1")


def table_rows(study: str, report: StudyReport, *, commit: str) -> list[str]:
    """Return a study's rows of the table, in Markdown."""
    rows = []
    for regime in report.regimes:
        for found in comparisons(regime):
            cells = (
                study,
                f"{public_dataset_name(report.dataset.name)}, {regime.title}",
                str(regime.num_replicates),
                f"{found.arm}, {_level(regime, found.arm, found.measure)}",
                f"{found.over}, {_level(regime, found.over, found.measure)}",
                _with_interval(found.gain),
                found.gain.verdict,
                _over_equal_compute(regime, found),
                commit,
            )
            rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return rows


def _level(regime: RegimeReport, name: ArmName, measure: str) -> str:
    arm = regime.arm(name)
    if arm is None:
        return "not measured"
    if measure == "macro-F1":
        return f"macro-F1 {100 * arm.macro_f1.mean:.2f}"
    return f"{100 * arm.accuracy.mean:.2f} %"


def _with_interval(gain: Gain) -> str:
    if gain.low is None or gain.high is None:
        return f"{in_points(gain.mean)} (no interval)"
    return f"{in_points(gain.mean)} ({in_points(gain.low)} to {in_points(gain.high)})"


def _over_equal_compute(regime: RegimeReport, found: Comparison) -> str:
    rival = regime.rivals.get(EQUAL_COMPUTE_ARM) if found.arm == HEADLINE_ARM else None
    return "not measured" if rival is None else _with_interval(rival)


def renew_table(new: Mapping[str, Sequence[str]], page: Path = PAGE) -> None:
    """Put studies' rows into the page, in place of their earlier ones.

    Args:
        new: rows by study.

    Raises:
        ValueError: the page has no place for them.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    kept: dict[str, list[str]] = {}
    for row in old.strip().splitlines()[2:]:  # below header and rule
        kept.setdefault(row.split("|")[1].strip(), []).append(row)
    rows = [row for study in sorted({*kept, *new}) for row in new.get(study, kept.get(study, []))]
    table = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}", *rows]
    write_text(page, f"{before}{BEGIN}\n" + "\n".join(table) + f"\n{END}{after}")
