"""Stage `generator`: train the GAN on the cell's subset and, where the study has images without labels, on those that
a classifier of the subset labelled (class-conditional GANs from few labels: Lucic et al. 2019, arXiv 1903.02271)."""

from data.base.files import digest_file, write_json
from data.images import LabelledImages
from data.unlabelled import with_pseudo_labelled
from flows.study.job import OPERATIONS_FILE, Job
from gan.checkpoint import GENERATOR_FILE
from gan.config import GanConfig
from gan.export import PROVENANCE_FILE
from gan.training import TrainingProgress, train, training_operations


def train_generator(
    job: Job[GanConfig],
    *,
    subset: LabelledImages,
    origin: dict[str, str],
    pseudo_labelled: LabelledImages | None = None,
) -> str:
    """Leave the generator, its history and its pictures in a directory, with their provenance.

    Args:
        origin: name and digests of what the subset was drawn from, and of the subset's file; for the provenance alone.
        pseudo_labelled: images without labels, with those that the stage `labelling` gave them; None in a study that
            has none.
    """
    last: list[TrainingProgress] = []

    def on_progress(progress: TrainingProgress) -> None:
        last[:] = [progress]
        detail = (
            f"step {progress.step}/{progress.num_steps}  D {progress.discriminator_loss:.3f}  "
            f"G {progress.generator_loss:.3f}  {progress.images_per_second:,.0f} images/s  "
            f"{progress.remaining_seconds:.0f} s left"
        )
        job.on_update(progress.step / progress.num_steps, detail)

    images = with_pseudo_labelled(subset, pseudo_labelled)
    begun_anew = train(
        images,
        job.output,
        config=job.settings,
        seed=job.seed,
        compute=job.compute,
        code=job.code,
        on_progress=on_progress,
    )
    operations = training_operations(images, config=job.settings)
    write_json(job.output / OPERATIONS_FILE, {"training": operations})
    provenance: dict[str, object] = origin | {
        "generator": digest_file(job.output / GENERATOR_FILE),
        "cell": job.cell,
        "seed": job.seed,
    }
    if pseudo_labelled is not None:
        provenance |= {"unlabelled_images": len(pseudo_labelled), "unlabelled": pseudo_labelled.digest()}
    write_json(job.output / PROVENANCE_FILE, provenance)
    rate = f", {last[0].images_per_second:,.0f} images/s" if last else ""
    anew = ", begun anew: the half-trained state was of other code or settings" if begun_anew else ""
    return f"{job.settings.steps:,} steps{rate}{anew}"
