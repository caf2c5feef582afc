from dataclasses import replace

import numpy as np

from data.base.device import Compute
from data.config import DeformationConfig
from data.policies import Views
from evaluation.config import ClassifierConfig, FilterConfig
from evaluation.filtering import confident, confident_samples
from evaluation.fitting import FitOptions
from evaluation.training_set import TrainingSet

GENTLE = DeformationConfig(rotation_degrees=0, translation=0, scale=0, shear=0, elastic=0)


def test_images_below_the_threshold_go():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]], np.float32)
    assert confident(probabilities, np.array([0, 0, 1]), threshold=0.7).tolist() == [True, False, True]


def test_every_class_keeps_its_most_confident_image():
    probabilities = np.array([[0.4, 0.6], [0.3, 0.7], [0.1, 0.9]], np.float32)
    assert confident(probabilities, np.array([0, 0, 1]), threshold=0.7).tolist() == [True, False, True]


def test_wrong_labels_are_filtered_out(striped):
    subset, synthetic = striped.take(np.arange(30)), striped.take(np.arange(30, 60))
    labels = synthetic.labels.copy()
    labels[:6] = (labels[:6] + 1) % 3
    options = FitOptions(
        config=ClassifierConfig(steps=60, batch_size=16, width=4),
        added_shares=(0.5, 0.5),
        seed=0,
        compute=Compute(device="cpu", precision="float32"),
        on_progress=lambda progress: None,
    )
    kept = confident_samples(
        replace(synthetic, labels=labels),
        TrainingSet(base=subset, added=None, policy=Views(deformation=GENTLE), balance="none"),
        config=FilterConfig(threshold=0.5, members=2),
        options=options,
    )
    assert not set(kept.rows) & set(synthetic.rows[:6])
    assert len(kept) >= 20
