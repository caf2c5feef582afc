"""Stage `labelling`: let a classifier of the cell's subset label the images without labels, for the generator.

The classifier is the strongest partner's that needs no generator: trained for consistency where it is a network, else
self-trained. Its labels are pseudo-labels: the true ones are read nowhere.
"""

from pydantic import BaseModel

from data.base.files import write_json
from data.images import LabelledImages
from data.parquet import write_subset
from data.unlabelled import UnlabelledImages
from evaluation.arms import CONSISTENT_ARM, SELF_TRAINED_ARM, Material, training_set
from evaluation.classifiers import classifier_operations, fit_classifier
from evaluation.config import TrainingConfig
from evaluation.consistency import operations_factor
from evaluation.pseudo_labels import labelled_by
from flows.study.job import LABELLED_IMAGES_FILE, OPERATIONS_FILE, Job
from flows.study.stages.fitting import fit_options


class LabellingSettings(BaseModel, frozen=True):
    """How classifiers are trained."""

    training: TrainingConfig

    def for_subset(self, num_images: int, *, policy: str) -> "LabellingSettings":
        """Return the settings with "auto" decided for a subset of `num_images` and the policy that the cell chose."""
        return self.model_copy(
            update={"training": self.training.for_subset(num_images, policy=policy, unlabelled=True)}
        )


def label_images(job: Job[LabellingSettings], *, subset: LabelledImages, unlabelled: UnlabelledImages | None) -> str:
    """Leave the images whose labels the classifier is sure of, and how many operations its training took.

    Raises:
        ValueError: the study has no images without labels.
    """
    if unlabelled is None:
        raise ValueError("there are no images to label")
    config = job.settings.training
    options = fit_options(job, config)
    material = Material(
        subset=subset,
        given_synthetic=None,
        given_unlabelled=unlabelled,
        num_synthetic=0,
        config=config,
        options=options,
    )
    is_network = config.classifier.is_network
    arm = CONSISTENT_ARM if is_network else SELF_TRAINED_ARM
    classifier = fit_classifier(training_set(arm, material), options)
    threshold = config.consistency.threshold if is_network else config.pseudo_labels.threshold
    found = labelled_by(classifier, unlabelled, class_names=subset.class_names, threshold=threshold)
    write_subset(job.output / LABELLED_IMAGES_FILE, found)
    operations = classifier_operations(config.classifier, shape=subset.shape, num_classes=subset.num_classes) or 0
    if is_network:
        operations = round(operations_factor(config.consistency) * operations)
    write_json(job.output / OPERATIONS_FILE, {"training": operations})
    return f"{len(found):,} of {len(unlabelled):,} images labelled as {arm} does"
