"""Stage `arm`: train one arm's classifier and let it answer on the test images."""

from pydantic import BaseModel, PositiveInt

from data.images import LabelledImages
from evaluation.arms import ArmName, Material, training_set
from evaluation.classifiers import ClassifierProgress, FitOptions, fit_classifier
from evaluation.config import TrainingConfig
from evaluation.metrics import accuracy
from evaluation.predictions import predictions_on, write_predictions
from flows.study.job import Job


class ArmSettings(BaseModel, frozen=True):
    """An arm, how classifiers are trained, and how large the synthetic set is."""

    arm: ArmName
    training: TrainingConfig
    synthetic_per_class: PositiveInt

    def for_subset(self, num_images: int) -> "ArmSettings":
        """Return the settings with "auto" decided for a subset of `num_images`."""
        return self.model_copy(update={"training": self.training.for_subset(num_images)})


def train_arm(
    job: Job[ArmSettings],
    *,
    subset: LabelledImages,
    test: LabelledImages,
    synthetic: LabelledImages | None = None,
) -> str:
    """Write the arm's predictions.

    Args:
        synthetic: the cell's synthetic set; None for arms that need no generator.
    """

    def on_progress(progress: ClassifierProgress) -> None:
        detail = (
            f"step {progress.step}/{progress.num_steps}  loss {progress.loss:.3f}  "
            f"{progress.images_per_second:,.0f} images/s"
        )
        job.on_update(progress.step / progress.num_steps, detail)

    config = job.settings.training
    options = FitOptions(
        config=config.classifier,
        added_shares=config.added_shares,
        seed=job.seed,
        compute=job.compute,
        on_progress=on_progress,
    )
    material = Material(
        subset=subset,
        given_synthetic=synthetic,
        num_synthetic=job.settings.synthetic_per_class * subset.num_classes,
        config=config,
        options=options,
    )
    classifier = fit_classifier(training_set(job.settings.arm, material), options)
    predictions = predictions_on(test, classifier.predict_probabilities(test.images))
    write_predictions(job.output, predictions)
    return f"accuracy {accuracy(predictions):.2%}"
