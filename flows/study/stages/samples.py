"""Stage `samples`: judge the synthetic images themselves."""

from data.base.files import write_json
from data.images import LabelledImages
from data.unlabelled import with_pseudo_labelled
from evaluation.config import SamplesConfig
from evaluation.features import feature_network, instrument_directory
from evaluation.fitting import ClassifierProgress
from evaluation.samples import RealData, evaluate_samples, write_pictures
from flows.study.job import Job

EVALUATION_FILE = "evaluation.json"


def judge_samples(
    job: Job[SamplesConfig],
    *,
    subset: LabelledImages,
    pseudo_labelled: LabelledImages | None,
    synthetic: LabelledImages,
    pool: LabelledImages,
    test: LabelledImages,
    train: LabelledImages,
) -> str:
    """Write fidelity, memorisation, labels and the audit's checks, and pictures of the worst samples.

    Args:
        pseudo_labelled: further images that the generator saw, and may have copied; None where it saw none.
        train: what the measuring instrument is trained on, the same for all cells.
    """

    def on_progress(progress: ClassifierProgress) -> None:
        detail = f"training the measuring instrument, step {progress.step}/{progress.num_steps}"
        job.on_update(0.8 * progress.step / progress.num_steps, detail)

    network = feature_network(
        train, instrument_directory(), config=job.settings.features, compute=job.compute, on_progress=on_progress
    )
    seen = with_pseudo_labelled(subset, pseudo_labelled)
    real = RealData(subset=seen, train=pool, test=test)
    judged = evaluate_samples(synthetic, real=real, network=network, config=job.settings, seed=job.seed)
    write_json(job.output / EVALUATION_FILE, judged.model_dump(mode="json"))
    write_pictures(job.output, judged, synthetic=synthetic, subset=seen)
    passed = sum(check.grade == "passed" for check in judged.checks)
    parts = [f"{passed} checks passed"]
    for grade in ("watch", "failed"):
        names = [check.name for check in judged.checks if check.grade == grade]
        parts += [f"{grade}: {', '.join(names)}"] if names else []
    return ", ".join(parts)
