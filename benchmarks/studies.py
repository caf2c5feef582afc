"""The studies behind the project's figures: configuration files that the product itself runs, judges and reports.

    python -m benchmarks.studies few-labels                 # a file of benchmarks/studies, to its end
    python -m benchmarks.studies few-labels --replicates 4  # a first part of it; a later call continues
    python -m benchmarks.studies few-labels --workers 8     # so many cells at a time, on one GPU too
    python -m benchmarks.studies --table                    # docs/studies.md anew, from the runs that are there

Studies of data sets that have no name here look for them in the folder AUGMENT_REAL (an environment variable).
Each study is an ordinary run below runs/studies: stopped, the same command continues it after the last finished stage.
Its report is the result; the rows added to RESULTS.md and those of the table in docs/studies.md are read off it.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import add_result, commit_of
from benchmarks.study_table import renew_table, table_rows
from data.base.device import resolve_compute
from data.base.errors import CorruptFileError, UsageError, message_of
from data.base.files import read_json
from evaluation.arms import HEADLINE_ARM
from evaluation.reporting.report import (
    StudyReport,
    evened_out_sentence,
    in_points,
    read_report,
    unlabelled_sentence,
)
from evaluation.reporting.run_files import ENVIRONMENT_FILE, REPORT_JSON
from flows.study.config import RunnerConfig, read_toml, resolve_config
from flows.study.running import run_study

STUDIES = Path(__file__).parent / "studies"
logger = logging.getLogger(__name__)


def study_figures(name: str, report: StudyReport) -> list[tuple[str, str]]:
    """Return the lines that tell of a study: policies, each arm's accuracy, the headline against arms without a GAN."""
    figures = []
    for regime in report.regimes:
        where = f"{name}, {regime.title}, {regime.num_replicates} replicates ({regime.design.name})"
        if regime.augmentation is not None:
            chosen = ", ".join(f"{policy} in {count}" for policy, count in regime.augmentation.chosen.items())
            figures.append((f"{where}: policy of classical augmentation", chosen))
        for arm in regime.arms:
            sd = "" if arm.accuracy.sd is None else f" (SD {100 * arm.accuracy.sd:.2f})"
            figures.append((f"{where}: {arm.name}", f"{100 * arm.accuracy.mean:.2f} %{sd}"))
        for arm_name, gain in regime.rivals.items():
            if gain.low is not None and gain.high is not None:
                interval = f"{in_points(gain.low)} to {in_points(gain.high)}"
                figures.append((f"{where}: {HEADLINE_ARM} over {arm_name}", f"{in_points(gain.mean)} ({interval})"))
        for gains in regime.unlabelled:
            figures.append(
                (f"{where}: images without labels", unlabelled_sentence(gains, confidence=report.confidence))
            )
        if regime.evened_out is not None:
            sentence = evened_out_sentence(regime.evened_out, confidence=report.confidence)
            figures.append((f"{where}: rare classes", sentence))
        figures.append((f"{where}: verdict", regime.headline.verdict))
    return figures


def dataset_of(file: Path) -> str:
    """Return the data set of a study's file, with the environment's variables in its path.

    Raises:
        UsageError: a variable is not set.
    """
    dataset = os.path.expandvars(str(read_toml(file)["data"]["dataset"]))
    if "$" in dataset:
        raise UsageError(f"{file.name} reads {dataset}: set AUGMENT_REAL to the folder of these data sets")
    return dataset


def rows_of_run(run: Path) -> list[str]:
    """Return a finished run's rows of the table in docs/studies.md.

    Where the run's report is all that is left of it, the commit is that of the study's newest rows in RESULTS.md.
    """
    environment = run / ENVIRONMENT_FILE
    commit = read_json(environment).get("git_commit") if environment.exists() else commit_of(f"{run.name}, ")
    return table_rows(run.name, read_report(run / REPORT_JSON), commit=str(commit)[:8] if commit else "not recorded")


def rows_of_runs(runs: Sequence[Path]) -> dict[str, list[str]]:
    """Return the rows of every run that has a report, by study; those of another version's reports stay as they are."""
    rows = {}
    for run in runs:
        if (run / REPORT_JSON).exists():
            try:
                rows[run.name] = rows_of_run(run)
            except CorruptFileError as error:
                logger.warning("%s; the rows of %s stay as they are", message_of(error), run.name)
    return rows


def main() -> None:
    names = sorted(path.stem for path in STUDIES.glob("*.toml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", help=f"default: {', '.join(names)}")
    parser.add_argument("--replicates", type=int, help="fewer than the file asks for; a later call may ask for more")
    parser.add_argument("--workers", type=int, help="cells at a time; default: as many as the machine has cores")
    parser.add_argument("--runs", type=Path, default=Path("runs/studies"))
    parser.add_argument("--table", action="store_true", help="run nothing; renew the table in docs/studies.md")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    unknown = set(arguments.studies) - set(names)
    if unknown:
        parser.error(f"no study {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if arguments.table:
        renew_table(rows_of_runs([arguments.runs / name for name in arguments.studies or names]))
        return
    for name in arguments.studies or names:
        file = STUDIES / f"{name}.toml"
        options = {"replicates": arguments.replicates, "data.dataset": dataset_of(file)}
        config = resolve_config(preset_name="quick", file=file, options=options, assignments=[])
        run = arguments.runs / name
        run_study(config, run, workers=arguments.workers or RunnerConfig().num_workers(config.compute))
        compute = resolve_compute(device=config.compute.device, precision=config.compute.precision)
        add_result("studies", compute=compute, figures=study_figures(name, read_report(run / REPORT_JSON)))
        renew_table({name: rows_of_run(run)})


if __name__ == "__main__":
    main()
