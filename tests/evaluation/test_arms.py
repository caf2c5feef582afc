import numpy as np
import pytest

from data.augmentation import DeformationConfig
from evaluation.arms import HEADLINE_ARM, REFERENCE_ARMS, training_set
from evaluation.config import ARM_NAMES

DEFORMATION = DeformationConfig()


@pytest.fixture
def compose(striped):
    subset, synthetic = striped.take(np.arange(12)), striped.take(np.arange(30, 60))

    def compose(arm):
        return training_set(arm, subset=subset, synthetic=synthetic, deformation=DEFORMATION), subset, synthetic

    return compose


def test_every_arm_has_a_reference():
    assert set(REFERENCE_ARMS) == set(ARM_NAMES)
    assert REFERENCE_ARMS[HEADLINE_ARM] == "real+classical"


def test_real_arm_holds_the_subset_alone(compose):
    training, subset, _ = compose("real")
    assert (training.base, training.added, training.deformation) == (subset, None, None)


@pytest.mark.parametrize("arm", ARM_NAMES)
def test_only_classical_arms_deform(compose, arm):
    assert (compose(arm)[0].deformation is not None) == ("classical" in arm)


def test_synthetic_arm_sees_no_real_image(compose):
    training, _, synthetic = compose("synthetic")
    assert (training.base, training.added) == (synthetic, None)


@pytest.mark.parametrize("arm", ["real+synthetic", "real+classical+synthetic", "real+classical+filtered"])
def test_mixed_arms_add_the_synthetic_set(compose, arm):
    training, subset, synthetic = compose(arm)
    assert (training.base, training.added) == (subset, synthetic)


def test_duplicates_are_the_subset_at_the_synthetic_size(compose):
    training, subset, synthetic = compose("real+duplicated")
    assert len(training.added) == len(synthetic)
    assert set(training.added.rows) == set(subset.rows)
