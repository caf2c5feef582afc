"""What runs unattended: a study that is held against the last good run of the same configuration, and exports.

A scheduled study first goes on with an unfinished run of its configuration, if one was left by a crash. When it ends,
it emits the event `augmentation.study.finished`; when it is worse than the last good run beyond the interval, also
`augmentation.study.regressed`, to which a Prefect automation can react.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from data.device import resolve_compute
from data.errors import AugmentError, RegressionError, UsageError
from data.files import read_record, write_json
from data.sources import Source
from evaluation.comparison import NamedReport, compare_reports, incompatibilities
from evaluation.comparison_page import write_comparison
from evaluation.fidelity import FidelityFigures
from evaluation.report import StudyReport, read_report
from evaluation.statistics import paired_gains
from flows.config import RunnerConfig, StudyConfig
from flows.progress import artifact_key
from flows.reporting import REPORT_HTML, REPORT_JSON
from flows.run_directory import DATASET_FILE, DEFAULT_RUNS_DIRECTORY, ENVIRONMENT_FILE, load_run_config, other_data_of
from flows.store import RunStore, store_of
from flows.study import SEQUENTIAL, augmentation_study, study_source
from gan.export import GENERATOR_FILE, PROVENANCE_FILE, ExportRequest, export_dataset

OnRegression = Literal["fail", "warn"]

REGRESSION_FILE = "regression.json"
COMPARISON_PAGE = "comparison.html"
FINISHED_EVENT = "augmentation.study.finished"
REGRESSED_EVENT = "augmentation.study.regressed"

FIDELITY: dict[str, Callable[[FidelityFigures], float | None]] = {  # larger is better
    "fidelity (negative KID)": lambda figures: None if figures.kid.value is None else -figures.kid.value,
    "precision": lambda figures: figures.precision.value,
    "recall": lambda figures: figures.recall.value,
}


@flow(name="scheduled_study", validate_parameters=True, persist_result=False)
def scheduled_study(
    config: StudyConfig,
    runs_directory: Path | str = DEFAULT_RUNS_DIRECTORY,
    runner: RunnerConfig = SEQUENTIAL,
    on_regression: OnRegression = "fail",
) -> Path | str:
    """Run a study, or go on with one that was cut off, and compare it with the last good run of its configuration.

    Raises:
        RegressionError: the gain or a fidelity figure regressed beyond its interval, unless `on_regression` is "warn".
    """
    runs = store_of(runs_directory)
    unfinished = unfinished_run(runs, config, study_source(config.data))
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
        RegressionError: the gain or a fidelity figure regressed beyond its interval, unless `on_regression` is "warn".
    """
    runs = store_of(runs_directory)
    finished = [name for name in _names(runs, config) if _report(runs.child(name)) is not None]
    if not finished:
        raise UsageError(f"{runs.location} holds no finished run of this configuration; run the study first")
    judge_run(runs.child(finished[-1]), runs, config=config, on_regression=on_regression)
    return runs.child(finished[-1]).location


@flow(name="augmentation_export", validate_parameters=True, persist_result=False)
def augmentation_export(generator: Path | str, output: Path, num_images: int = 10_000, seed: int = 0) -> Path:
    """Write a labelled synthetic data set from a trained generator; cut off, it goes on where it was.

    Args:
        generator: path or fsspec URL of a cell's `generator` folder.
    """
    request = ExportRequest(num_images=num_images, seed=seed)
    compute = resolve_compute(device="auto", precision="auto")
    with store_of(generator).fetched(GENERATOR_FILE, PROVENANCE_FILE) as directory:
        export_dataset(directory, output, request, compute=compute, on_progress=lambda _: None)
    get_run_logger().info("%s images in %s", f"{num_images:,}", output)
    return output


def unfinished_run(runs: RunStore, config: StudyConfig, source: Source) -> str | None:
    """Return where the newest run of this configuration lies if it has no report yet and began with these data."""
    names = _names(runs, config)
    if not names:
        return None
    newest = runs.child(names[-1])
    if _report(newest) is not None:
        return None
    with newest.fetched(DATASET_FILE) as directory:
        other = other_data_of(directory, source)
    if other:
        get_run_logger().warning("%s is unfinished and began with other data (%s); left as it is", newest.name, other)
        return None
    return newest.location


def judge_run(run: RunStore, runs: RunStore, *, config: StudyConfig, on_regression: OnRegression) -> None:
    """Hold a finished run against the last good one, leave a comparison page in it, and tell what came out.

    Raises:
        RegressionError: it is worse beyond the interval, unless `on_regression` is "warn".
    """
    report = _report(run)
    if report is None:
        raise UsageError(f"{run.location} holds no finished report")
    resource = {"prefect.resource.id": f"augmentation.run.{run.name}", "prefect.resource.name": run.name}
    emit_event(FINISHED_EVENT, resource=resource, payload={"verdict": report.verdict, "sentence": report.sentence})
    base = last_good_run(NamedReport(name=run.name, link=REPORT_HTML, report=report), runs, config)
    if base is None:
        get_run_logger().info("no earlier good run of this configuration; nothing to compare with")
        return
    regressions = compare_with(base, run, report)
    if not regressions:
        return
    text = "; ".join(regressions)
    emit_event(REGRESSED_EVENT, resource=resource, payload={"base": base.name, "regressions": regressions})
    create_markdown_artifact(f"# Regression\n\n{text}\n", key=artifact_key(f"regression {run.name}"))
    if on_regression == "fail":
        raise RegressionError(text)
    get_run_logger().warning(text)


def compare_with(base: NamedReport, run: RunStore, report: StudyReport) -> list[str]:
    """Write the comparison into the run, mark the run where it is worse, and return in what."""
    later = NamedReport(name=run.name, link=REPORT_HTML, report=report)
    comparison = compare_reports([base, later], force=False)
    regressions = [*comparison.regressions, *fidelity_regressions(base, later)]
    with run.workspace() as directory:
        files = [directory / COMPARISON_PAGE, write_comparison(directory / COMPARISON_PAGE, comparison)]
        if regressions:
            write_json(directory / REGRESSION_FILE, {"base": base.name, "regressions": regressions})
            files.append(directory / REGRESSION_FILE)
        run.push(directory, files)
    return regressions


def fidelity_regressions(base: NamedReport, run: NamedReport) -> list[str]:
    """Say in which fidelity figures the run is worse than the base beyond the interval, replicate by replicate."""
    sentences = []
    for name, figure in FIDELITY.items():
        regimes = [regime.name for regime in base.report.regimes]
        differences = [_differences(base, run, regime=regime, figure=figure) for regime in regimes]
        gains = paired_gains(differences, confidence=base.report.confidence)
        sentences += [
            f"{run.name} is worse than {base.name} in {regime}: {name} changed by {gain.mean:+.4f} "
            f"(interval {gain.low:+.4f} to {gain.high:+.4f})"
            for regime, gain in zip(regimes, gains, strict=True)
            if gain.verdict == "hurts"
        ]
    return sentences


def last_good_run(run: NamedReport, runs: RunStore, config: StudyConfig) -> NamedReport | None:
    """Return the newest run of this configuration beside `run` that is finished, did not regress itself, and used the
    same data and protocol."""
    for name in reversed(_names(runs, config)):
        candidate = runs.child(name)
        if name == run.name:
            continue
        with candidate.fetched(REGRESSION_FILE) as directory:
            regressed = (directory / REGRESSION_FILE).exists()
        report = None if regressed else _report(candidate)
        if report is None:
            continue
        base = NamedReport(name=name, link=f"../{name}/{REPORT_HTML}", report=report)
        reasons = incompatibilities([base, run])
        if not reasons:
            return base
        get_run_logger().warning("not compared with %s: %s", name, "; ".join(reasons))
    return None


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
    """Return the names of the runs of this configuration, oldest first; what cannot be read is left out."""
    found = []
    for name in runs.run_names():
        try:
            with runs.child(name).fetched("config.toml", ENVIRONMENT_FILE) as directory:
                if load_run_config(directory) == config:
                    found.append((str(read_record(directory / ENVIRONMENT_FILE).get("created", "")), name))
        except AugmentError:
            continue
    return [name for _, name in sorted(found)]


def _report(run: RunStore) -> StudyReport | None:
    with run.fetched(REPORT_JSON) as directory:
        try:
            return read_report(directory / REPORT_JSON)
        except AugmentError:
            return None
