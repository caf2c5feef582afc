"""What runs unattended: a study that is held against the last good run of the same configuration, and exports.

A scheduled study first goes on with an unfinished run of its configuration, if one was left by a crash. When it ends,
it emits the event `augmentation.study.finished`; when it is worse than the last good run beyond the interval, also
`augmentation.study.regressed`, to which a Prefect automation can react.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import numpy as np
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.concurrency import _leases
from prefect.events import emit_event
from pydantic import BaseModel

from data.base.device import resolve_compute
from data.base.errors import AugmentError, CorruptFileError, RegressionError, UsageError, message_of
from data.base.files import digest_file, read_model, read_record, write_json
from data.sources.registry import Source
from evaluation.fidelity import FidelityFigures
from evaluation.reporting.comparison import NamedReport, compare_reports, incompatibilities
from evaluation.reporting.comparison_page import write_comparison, write_not_compared
from evaluation.reporting.report import StudyReport, read_report
from evaluation.reporting.run_files import CONFIG_FILE, ENVIRONMENT_FILE, REPORT_HTML, REPORT_JSON
from evaluation.statistics import mean_intervals
from flows.attached import end_with_serve
from flows.augmentation_study import SEQUENTIAL, augmentation_study
from flows.metrics import publish_figures
from flows.one_line import log_errors_in_one_line
from flows.pages import page_link
from flows.progress import NO_ANSWER, artifact_key
from flows.study.config import RunnerConfig, StudyConfig
from flows.study.designs import resolve_study, study_source
from flows.study.reporting import DIGESTS_FILE, vouch_for
from flows.study.retention import JUDGEMENT_FILE
from flows.study.retrying import LASTING, patiently
from flows.study.run_directory import DATASET_FILE, DEFAULT_RUNS_DIRECTORY, load_run_config, other_data_of
from flows.study.store import RunStore, store_of
from gan.checkpoint import GENERATOR_FILE
from gan.export import PROVENANCE_FILE, SAMPLES_FILE, ExportRequest, export_dataset

OnRegression = Literal["fail", "warn"]
Found = TypeVar("Found")
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # and not a disk or network that failed

MOST_REASONS = 3  # of those why earlier runs are no base
COMPARISON_PAGE = "comparison.html"
FINISHED_EVENT = "augmentation.study.finished"
REGRESSED_EVENT = "augmentation.study.regressed"

FIDELITY: dict[str, Callable[[FidelityFigures], float | None]] = {  # larger is better
    "fidelity (negative KID)": lambda figures: None if figures.kid.value is None else -figures.kid.value,
    "precision": lambda figures: figures.precision.value,
    "recall": lambda figures: figures.recall.value,
}


class Judgement(BaseModel, frozen=True):
    """What came out when a run was held against the last good one.

    Attributes:
        base: the last good run's name; without one there was nothing to regress from.
        not_compared: why earlier good runs were no base, or why nothing could be judged.
    """

    base: str | None
    regressions: tuple[str, ...]
    not_compared: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LastGoodRun:
    """What a run is held against; `passed_over` says why newer good runs are not it."""

    run: NamedReport | None
    passed_over: tuple[str, ...]


@flow(name="scheduled_study", validate_parameters=True, persist_result=False)
def scheduled_study(
    config: StudyConfig,
    runs_directory: Path | str = DEFAULT_RUNS_DIRECTORY,
    runner: RunnerConfig = SEQUENTIAL,
    on_regression: OnRegression = "fail",
) -> Path | str:
    """Run a study, or go on with one that was cut off, and compare it with the last good run of its configuration.

    Raises:
        RegressionError: an accuracy, the gain or a fidelity figure is worse beyond its interval, unless
            `on_regression` is "warn".
    """
    run_unattended()
    runs = store_of(runs_directory)
    source = patiently(lambda: study_source(config.data))
    config = resolve_study(config, source)
    unfinished = unfinished_run(runs, config, source)
    location = augmentation_study(config, unfinished, runs_directory=runs_directory, runner=runner)
    judge_run(store_of(location), runs, config=config, on_regression=on_regression)
    return location


@flow(name="augmentation_comparison", validate_parameters=True, persist_result=False)
def augmentation_comparison(
    config: StudyConfig, runs_directory: Path | str = DEFAULT_RUNS_DIRECTORY, on_regression: OnRegression = "fail"
) -> Path | str:
    """Compare the newest finished run of a configuration with the last good one before it.

    Raises:
        UsageError: there is no finished run of this configuration.
        RegressionError: an accuracy, the gain or a fidelity figure is worse beyond its interval, unless
            `on_regression` is "warn".
    """
    run_unattended()
    runs = store_of(runs_directory)
    config = resolve_study(config, patiently(lambda: study_source(config.data)))
    newest_first = (runs.child(name) for name in reversed(_names(runs, config)))
    newest = next((run for run in newest_first if _report(run) is not None), None)
    if newest is None:
        raise UsageError(f"{runs.location} holds no finished run of this configuration; run the study first")
    judge_run(newest, runs, config=config, on_regression=on_regression)
    return newest.location


@flow(name="augmentation_export", validate_parameters=True, persist_result=False)
def augmentation_export(generator: Path | str, output: Path, num_images: int = 10_000, seed: int = 0) -> Path:
    """Write a labelled synthetic data set from a trained generator; cut off, it goes on where it was.

    Args:
        generator: path or fsspec URL of a cell's `generator` folder.
    """
    run_unattended()
    request = ExportRequest(num_images=num_images, seed=seed)
    compute = resolve_compute(device="auto", precision="auto")
    with store_of(generator).fetched(GENERATOR_FILE, SAMPLES_FILE, PROVENANCE_FILE) as directory:
        export_dataset(directory, output, request, compute=compute, on_progress=lambda _: None)
    get_run_logger().info("%s images in %s", f"{num_images:,}", output)
    return output


def run_unattended() -> None:
    """Let this run end with `augment serve`, log errors in one line, and outlive the lease of its place at the server.

    Prefect ends a run whose place among those allowed at a time cannot be held any more: the server was away for
    minutes, or the machine slept. This one goes on; another that comes due meanwhile finds the run's folder in use.
    """
    if end_with_serve():
        log_errors_in_one_line()
    _leases._handle_lease_renewal_failure = _tell_of_lost_lease  # type: ignore[assignment]


def _tell_of_lost_lease(error: BaseException, *_: object) -> None:
    warning = "Prefect's server holds the place of this run no longer (%s); the run goes on"
    get_run_logger().warning(warning, message_of(error))


def unfinished_run(runs: RunStore, config: StudyConfig, source: Source) -> str | None:
    """Return where the newest run of this configuration lies if it has no report yet and began with these data."""
    names = _names(runs, config)
    if not names:
        return None
    newest = runs.child(names[-1])
    if _report(newest) is not None:
        return None

    def other_data(directory: Path) -> str:
        try:
            return other_data_of(directory, source)
        except CorruptFileError as error:
            return str(error)

    other = _reading(newest, DATASET_FILE, read=other_data)
    if other:
        get_run_logger().warning("%s is unfinished and began with other data (%s); left as it is", newest.name, other)
        return None
    return newest.location


def judge_run(run: RunStore, runs: RunStore, *, config: StudyConfig, on_regression: OnRegression) -> None:
    """Hold a finished run against the last good one, leave a comparison page in it, and tell what came out.

    Runs before it that nobody has judged (started by hand, or killed just before that) are judged first: one that is
    worse itself is no base.

    Raises:
        RegressionError: it is worse beyond the interval, unless `on_regression` is "warn".
    """
    report = _report(run)
    if report is None:
        raise UsageError(f"{run.location} holds no finished report")
    earlier = list(takewhile(lambda name: name != run.name, _names(runs, config)))
    for place in _unjudged(earlier, runs):
        before = runs.child(earlier[place])
        found = _report(before)
        if found is None:
            continue
        try:
            _judge(before, found, runs, earlier[:place])
        except (AugmentError, OSError) as error:  # such as a run that is somebody else's to write to
            get_run_logger().warning("%s cannot be judged, so it is no base: %s", before.name, error)
    judgement = _judge(run, report, runs, earlier)
    comparison = page_link(run, COMPARISON_PAGE)
    outcome = judgement.model_dump(mode="json") | {"report": page_link(run, REPORT_HTML), "comparison": comparison}
    emit_event(
        FINISHED_EVENT,
        resource=_resource(run),
        payload={"verdict": report.verdict, "sentence": report.sentence, **outcome},
    )
    with suppress(*NO_ANSWER):  # for watching
        publish_figures(report, name=run.name, regressions=judgement.regressions)
    if judgement.not_compared:
        _leave_note("Not compared", [*(f"- {reason}" for reason in judgement.not_compared), "", comparison], run=run)
    if not judgement.regressions:
        return
    text = "; ".join(judgement.regressions)
    emit_event(REGRESSED_EVENT, resource=_resource(run), payload=outcome)
    _leave_note("Regression", [text, "", comparison], run=run)
    if on_regression == "fail":
        raise RegressionError(text)


def _leave_note(title: str, lines: Sequence[str], *, run: RunStore) -> None:
    """Leave what came out as a page in Prefect's user interface, where its server can be reached."""
    with suppress(*NO_ANSWER):
        create_markdown_artifact("\n".join([f"# {title}", "", *lines, ""]), key=artifact_key(f"{title} {run.name}"))


def _unjudged(names: Sequence[str], runs: RunStore) -> list[int]:
    """Return the places of the runs after the last judged one, oldest first."""
    places = []
    for place in reversed(range(len(names))):
        if _judgement(runs.child(names[place])) is not None:
            break
        places.append(place)
    return places[::-1]


def _judge(run: RunStore, report: StudyReport, runs: RunStore, earlier: Sequence[str]) -> Judgement:
    """Compare a run with the last good one of `earlier`, and write down what came out, the comparison first."""
    later = NamedReport(name=run.name, link=REPORT_HTML, report=report)
    last_good = last_good_run(later, runs, earlier)
    if last_good.run is None:
        get_run_logger().info("no good run of this configuration before %s to compare it with", run.name)
        judgement = Judgement(base=None, regressions=(), not_compared=last_good.passed_over)
    else:
        judgement = compare_with(last_good.run, later, run)
        judgement = judgement.model_copy(update={"not_compared": (*last_good.passed_over, *judgement.not_compared)})
    for line in (*judgement.regressions, *judgement.not_compared):
        get_run_logger().warning(line)
    with run.workspace() as directory:
        patiently(lambda: run.pull(directory, [DIGESTS_FILE]))
        files = [directory / JUDGEMENT_FILE, directory / DIGESTS_FILE]
        write_json(directory / JUDGEMENT_FILE, judgement.model_dump(mode="json"))
        vouch_for(directory, {JUDGEMENT_FILE: digest_file(directory / JUDGEMENT_FILE)})
        if judgement.base is None and judgement.not_compared:
            files.append(directory / COMPARISON_PAGE)
            write_not_compared(directory / COMPARISON_PAGE, name=run.name, reasons=judgement.not_compared)
        patiently(lambda: run.push(directory, files))
    return judgement


def compare_with(base: NamedReport, later: NamedReport, run: RunStore) -> Judgement:
    """Write the comparison into the run, and return in what it is worse."""
    comparison = compare_reports([base, later], force=False)
    with run.workspace() as directory:
        files = [directory / COMPARISON_PAGE, write_comparison(directory / COMPARISON_PAGE, comparison)]
        patiently(lambda: run.push(directory, files))
    unjudged = f"nothing could be judged against {base.name}, because {comparison.unjudged}"
    return Judgement(
        base=base.name,
        regressions=(*comparison.regressions, *fidelity_regressions(base, later)),
        not_compared=(unjudged,) if comparison.unjudged else (),
    )


def fidelity_regressions(base: NamedReport, run: NamedReport) -> list[str]:
    """Say in which fidelity figures the run is worse than the base beyond the interval, replicate by replicate."""
    places = [(name, regime.name) for name in FIDELITY for regime in base.report.regimes]
    differences = [_differences(base, run, regime=regime, figure=FIDELITY[name]) for name, regime in places]
    designs = [(side.name, side.design.shared) for one in (base, run) for side in one.report.regimes]
    shared = [max(part for name, part in designs if name == regime) for _, regime in places]
    intervals = mean_intervals(differences, confidence=base.report.confidence, shared=shared)
    return [
        f"{run.name} is worse than {base.name} in {regime}: {name} changed by {np.mean(values):+.4f} "
        f"(interval {interval[0]:+.4f} to {interval[1]:+.4f})"
        for (name, regime), values, interval in zip(places, differences, intervals, strict=True)
        if interval is not None and interval[1] < 0
    ]


def last_good_run(run: NamedReport, runs: RunStore, earlier: Sequence[str]) -> LastGoodRun:
    """Return the newest of the `earlier` runs (oldest first) that was judged and found no worse than those before it,
    and used the same data and protocol as `run`."""
    passed_over: list[str] = []
    for name in reversed(earlier):
        candidate = runs.child(name)
        judgement = _judgement(candidate)
        report = _report(candidate) if judgement is not None and not judgement.regressions else None
        if report is None:
            continue
        base = NamedReport(name=name, link=f"../{quote(name, safe='')}/{REPORT_HTML}", report=report)
        reasons = incompatibilities([base, run])
        if not reasons:
            return LastGoodRun(run=base, passed_over=tuple(passed_over[:MOST_REASONS]))
        passed_over.append(f"not compared with {name}, because {'; '.join(reasons)}")
    return LastGoodRun(run=None, passed_over=tuple(passed_over[:MOST_REASONS]))


def _differences(
    base: NamedReport, run: NamedReport, *, regime: str, figure: Callable[[FidelityFigures], float | None]
) -> list[float]:
    ours, theirs = ([cell.samples for cell in side.report.cells if cell.regime == regime] for side in (base, run))
    found = []
    for before, after in zip(ours, theirs, strict=False):
        if before is None or after is None or before.features != after.features:
            continue  # not measured, or with another instrument
        one, other = (figure(samples.fidelity.overall.synthetic) for samples in (before, after))
        if one is not None and other is not None:
            found.append(other - one)
    return found


def _names(runs: RunStore, config: StudyConfig) -> list[str]:
    """Return the names of the runs of this configuration, oldest first; one whose files cannot be read is left out."""

    def created(directory: Path) -> str | None:
        if load_run_config(directory) != config:
            return None
        return str(read_record(directory / ENVIRONMENT_FILE).get("created", ""))

    names = patiently(runs.run_names)
    times = {name: _reading(runs.child(name), CONFIG_FILE, ENVIRONMENT_FILE, read=created) for name in names}
    return [name for _, name in sorted((time, name) for name, time in times.items() if time is not None)]


def _report(run: RunStore) -> StudyReport | None:
    return _reading(run, REPORT_JSON, read=lambda directory: read_report(directory / REPORT_JSON))


def _judgement(run: RunStore) -> Judgement | None:
    return _reading(run, JUDGEMENT_FILE, read=lambda directory: read_model(directory / JUDGEMENT_FILE, Judgement))


def _reading(run: RunStore, *names: str, read: Callable[[Path], Found]) -> Found | None:
    """Return what `read` makes of the named files of a run, None where they are absent or of another form.

    A store or a disk that fails for a moment is asked again. What does not pass by itself (a run of somebody else's
    that cannot be read) is told, and counts as absent: one such run fails no night.
    """

    def fetch() -> Found | None:
        with run.fetched(*names) as directory:
            try:
                return read(directory)
            except (AugmentError, OSError) as error:
                cause = error if isinstance(error, OSError) else error.__cause__
                if not isinstance(cause, OSError) or isinstance(cause, ABSENT):
                    return None
                if cause.errno not in LASTING:
                    raise
                get_run_logger().warning("%s is left out: %s", run.name, cause)
                return None

    return patiently(fetch)


def _resource(run: RunStore) -> dict[str, str]:
    return {"prefect.resource.id": f"augmentation.run.{run.name}", "prefect.resource.name": run.name}
