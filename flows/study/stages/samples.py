"""Stage `samples`: judge the synthetic images themselves."""

from functools import partial
from pathlib import Path

from data.base.device import Compute
from data.base.files import write_json
from data.images import LabelledImages
from data.unlabelled import with_pseudo_labelled
from evaluation.config import SamplesConfig
from evaluation.features import feature_network, instrument_directory
from evaluation.fitting import ClassifierProgress
from evaluation.membership import NearestMade
from evaluation.samples import RealData, evaluate_samples, write_pictures
from flows.study.job import Job
from gan.checkpoint import GENERATOR_FILE, load_generator
from gan.inversion import nearest_made

EVALUATION_FILE = "evaluation.json"


def judge_samples(
    job: Job[SamplesConfig],
    *,
    subset: LabelledImages,
    pseudo_labelled: LabelledImages | None,
    synthetic: LabelledImages,
    generator: Path,
    pool: LabelledImages,
    test: LabelledImages,
    train: LabelledImages,
) -> str:
    """Write fidelity, memorisation, labels and the audit's checks, and pictures of the worst samples.

    Args:
        pseudo_labelled: further images that the generator saw, and may have copied; None where it saw none.
        generator: its directory; what its file gives away is measured where it is a GAN.
        train: what the measuring instrument is trained on, the same for all cells.
    """

    def on_progress(progress: ClassifierProgress) -> None:
        detail = f"training the measuring instrument, step {progress.step}/{progress.num_steps}"
        job.on_update(0.8 * progress.step / progress.num_steps, detail)

    def on_wait() -> None:
        job.on_update(0.0, "waiting for another process, which trains the measuring instrument")

    network = feature_network(
        train,
        instrument_directory(),
        config=job.settings.features,
        compute=job.compute,
        on_progress=on_progress,
        on_wait=on_wait,
    )
    seen = with_pseudo_labelled(subset, pseudo_labelled)
    real = RealData(subset=seen, train=pool, test=test, nearest_made=nearest_made_by(generator, compute=job.compute))
    judged = evaluate_samples(synthetic, real=real, network=network, config=job.settings, seed=job.seed)
    write_json(job.output / EVALUATION_FILE, judged.model_dump(mode="json"))
    write_pictures(job.output, judged, synthetic=synthetic, subset=seen)
    passed = sum(check.grade == "passed" for check in judged.checks)
    parts = [f"{passed} checks passed"]
    for grade in ("watch", "failed"):
        names = [check.name for check in judged.checks if check.grade == grade]
        parts += [f"{grade}: {', '.join(names)}"] if names else []
    return ", ".join(parts)


def nearest_made_by(directory: Path, *, compute: Compute) -> NearestMade | None:
    """Return how near the GAN of a directory can be brought to images; None where another generator lies there.

    Raises:
        CorruptFileError: it cannot be read.
    """
    file = directory / GENERATOR_FILE
    if not file.exists():
        return None
    generator, _ = load_generator(file)
    return partial(nearest_made, generator, compute=compute)
