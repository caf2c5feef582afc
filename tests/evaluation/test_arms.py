import numpy as np
import pytest

from data.base.device import Compute
from data.base.errors import UsageError
from data.images import identities
from data.unlabelled import rest_of_pool
from evaluation.arms import (
    ARMS,
    HEADLINE_ARM,
    MORE_LABELS,
    Arm,
    Material,
    balancing_arms,
    check_arms,
    default_arms,
    evened_out,
    synthetic_shares,
    training_set,
    unlabelled_arms,
)
from evaluation.config import TrainingConfig
from evaluation.fitting import FitOptions
from evaluation.protocol import EvaluationConfig
from evaluation.training_set import evened_rows

UNAUGMENTED = {"real", "real+synthetic", "synthetic"}
TAILED = np.array([8, 4, 1])


@pytest.fixture(autouse=True)
def no_ensemble(monkeypatch):
    monkeypatch.setattr("evaluation.filtering.confident_samples", lambda synthetic, training, **options: synthetic)
    monkeypatch.setattr("evaluation.pseudo_labels.self_trained", lambda images, training, **options: training.base)


def material(subset, synthetic, pool=None, unlabelled=None):
    options = FitOptions(
        config=TrainingConfig().classifier,
        added_shares=(0.5, 0.0),
        seed=0,
        compute=Compute(device="cpu", precision="float32"),
        on_progress=lambda progress: None,
    )
    return Material(
        subset=subset,
        given_synthetic=synthetic,
        given_pool=pool,
        given_unlabelled=unlabelled,
        num_synthetic=30 if synthetic is None else len(synthetic),
        config=TrainingConfig(policy="digits"),
        options=options,
    )


@pytest.fixture
def compose(striped):
    subset, synthetic = striped.take(np.arange(12)), striped.take(np.arange(30, 60))

    def compose(arm):
        rest = rest_of_pool(striped, subset)
        return training_set(arm, material(subset, synthetic, pool=striped, unlabelled=rest)), subset, synthetic

    return compose


@pytest.fixture
def tailed(striped):
    """8, 4 and 1 images of the classes, and a synthetic set of 10 of each that shares no image with them."""

    def first(label, start, stop):
        return np.flatnonzero(striped.labels == label)[start:stop]

    subset = striped.take(np.concatenate([first(label, 0, count) for label, count in enumerate(TAILED)]))
    synthetic = striped.take(np.concatenate([first(label, 10, 20) for label in range(3)]))
    return subset, synthetic


def test_every_arm_but_the_first_has_a_reference_before_it():
    names = list(ARMS)
    assert [name for name, arm in ARMS.items() if arm.reference is None] == names[:1]
    assert all(names.index(arm.reference) < names.index(name) for name, arm in list(ARMS.items())[1:])
    assert ARMS[HEADLINE_ARM].reference == "real+classical"


def test_arms_that_need_no_generator_are_composed_without_one(striped):
    subset = striped.take(np.arange(12))
    rest = rest_of_pool(striped, subset)
    for name, arm in ARMS.items():
        if not arm.needs_generator:
            training_set(name, material(subset, None, pool=striped, unlabelled=rest))
        else:
            with pytest.raises(ValueError, match="needs no generator asks for synthetic images"):
                training_set(name, material(subset, None, unlabelled=rest))


def test_arms_that_see_labelled_images_alone_are_composed_without_others(striped):
    subset = striped.take(np.arange(12))
    for name, arm in ARMS.items():
        if not arm.needs_unlabelled:
            training_set(name, material(subset, subset, pool=striped))
        else:
            with pytest.raises(ValueError, match="sees labelled images alone asks for others"):
                training_set(name, material(subset, subset, pool=striped))


def test_fixmatch_trains_on_the_subset_and_on_images_without_labels(compose):
    training, subset, _ = compose("fixmatch")
    assert (training.base, training.added) == (subset, None)
    assert training.consistency is not None
    assert not set(training.consistency.images.rows) & set(subset.rows)


def test_fixmatch_with_synthetic_images_mixes_them_in_as_labelled_ones(compose):
    training, subset, synthetic = compose("fixmatch+synthetic")
    assert (training.base, training.added) == (subset, synthetic)
    assert training.consistency is not None


def test_only_arms_that_need_them_are_given_images_without_labels(compose):
    assert {arm for arm in ARMS if compose(arm)[0].consistency is not None} == {"fixmatch", "fixmatch+synthetic"}


def test_studies_of_other_classifiers_have_the_partners_that_these_can_be():
    assert unlabelled_arms(with_networks=False) == ("pseudo-labels",)
    assert unlabelled_arms(with_networks=True) == ("pseudo-labels", "fixmatch", "fixmatch+synthetic")


def test_a_new_arm_is_one_entry_of_the_table(striped, monkeypatch):
    toy = Arm(
        description="a toy", reference="real", role="without generator", base=lambda it: it.subset.take(np.arange(3))
    )
    monkeypatch.setitem(ARMS, "toy", toy)
    assert EvaluationConfig(arms=("toy", *default_arms())).arms[-1] == "toy"
    assert len(training_set("toy", material(striped, None)).base) == 3


def test_real_arm_holds_the_subset_alone(compose):
    training, subset, _ = compose("real")
    assert (training.base, training.added, training.policy) == (subset, None, None)


@pytest.mark.parametrize("arm", list(ARMS))
def test_only_classical_arms_are_augmented(compose, arm):
    assert (compose(arm)[0].policy is None) == (arm in UNAUGMENTED)


@pytest.mark.parametrize("arm", ["synthetic", "synthetic+classical"])
def test_synthetic_arms_see_no_real_image(compose, arm):
    training, _, synthetic = compose(arm)
    assert (training.base, training.added) == (synthetic, None)


@pytest.mark.parametrize(("arm", "balance"), [("oversampled", "batches"), ("class-weighted", "loss")])
def test_references_for_rare_classes_train_on_the_subset_alone(compose, arm, balance):
    training, subset, _ = compose(arm)
    assert (training.base, training.added, training.balance) == (subset, None, balance)


def test_only_arms_for_rare_classes_balance(compose):
    assert {arm for arm in list(ARMS) if compose(arm)[0].balance != "none"} == set(balancing_arms())
    assert not set(balancing_arms()) & set(default_arms())


def test_evened_out_set_has_as_many_images_of_every_class(tailed):
    subset, synthetic = tailed
    training = training_set("evened-out", material(subset, synthetic))
    assert list(training.base.class_counts()) == [8, 8, 8]
    assert training.balance == "batches"


def test_evened_out_set_is_the_subset_and_what_it_lacks_of_synthetic_images(tailed):
    subset, synthetic = tailed
    here = identities(evened_out(subset, synthetic, share=1.0))
    assert here[: len(subset)] == identities(subset)
    assert len(set(here)) == len(here) == 24
    assert set(here[len(subset) :]) <= set(identities(synthetic))


def test_evened_out_share_limits_synthetic_images_and_repeats_real_ones(tailed):
    subset, synthetic = tailed
    evened = evened_out(subset, synthetic, share=0.25)
    made = np.isin(identities(evened), identities(synthetic))
    assert list(np.bincount(evened.labels[made], minlength=3)) == [0, 2, 2]
    assert list(evened.class_counts()) == [8, 8, 8]


def test_evened_out_holds_no_image_from_elsewhere(tailed):
    subset, synthetic = tailed
    allowed = set(identities(subset)) | set(identities(synthetic))
    assert all(set(identities(evened_out(subset, synthetic, share=share))) <= allowed for share in (0.1, 0.5, 1.0))


@pytest.mark.parametrize(("share", "expected"), [(1.0, [0, 4, 7]), (0.5, [0, 4, 4]), (0.25, [0, 2, 2])])
def test_synthetic_shares_are_analytic(share, expected):
    assert list(synthetic_shares(TAILED, share=share)) == expected


def test_evening_out_a_balanced_subset_changes_nothing(striped):
    assert evened_out(striped, striped, share=1.0).digest() == striped.digest()


def test_too_small_a_synthetic_set_is_told(tailed):
    subset, synthetic = tailed
    few = synthetic.take(np.arange(len(synthetic) - 5))
    with pytest.raises(UsageError, match=r"needs 7 synthetic images of a class, and there are 5; .*images_per_class=7"):
        evened_out(subset, few, share=1.0)


def test_evened_rows_repeat_rare_classes():
    labels = np.array([0, 0, 0, 2, 2, 5])
    assert list(evened_rows(labels)) == [0, 1, 2, 3, 4, 3, 5, 5, 5]


def rare_class_config(*arms):
    return EvaluationConfig(arms=("real", "real+classical", HEADLINE_ARM, *arms))


def test_arms_for_rare_classes_are_refused_where_no_regime_has_any():
    with pytest.raises(UsageError, match=r"oversampled would be real\+classical once more"):
        check_arms(rare_class_config("oversampled"), regimes=[np.array([10, 10])], images_per_class=500)


def test_one_regime_with_rare_classes_suffices():
    regimes = [np.array([10, 10]), np.array([10, 2])]
    check_arms(rare_class_config(*balancing_arms()), regimes=regimes, images_per_class=8)


def test_too_few_synthetic_images_are_told_before_anything_runs():
    config = rare_class_config("oversampled", "evened-out")
    with pytest.raises(UsageError, match="needs 8 synthetic images of a class, and there are 7"):
        check_arms(config, regimes=[np.array([10, 2])], images_per_class=7)


def test_default_arms_ask_nothing_of_the_regimes():
    check_arms(EvaluationConfig(), regimes=[np.array([10, 10])], images_per_class=1)


@pytest.mark.parametrize("arm", ["real+synthetic", "real+classical+synthetic", "real+classical+filtered"])
def test_mixed_arms_add_the_synthetic_set(compose, arm):
    training, subset, synthetic = compose(arm)
    assert (training.base, training.added) == (subset, synthetic)


def test_deformed_copies_are_the_subset_deformed_at_the_synthetic_size(compose):
    training, subset, synthetic = compose("deformed-copies")
    assert len(training.added) == len(synthetic)
    assert set(training.added.rows) == set(subset.rows)
    assert not set(identities(training.added)) & set(identities(subset))


@pytest.mark.parametrize("arm", list(MORE_LABELS))
def test_more_labels_add_images_of_the_pool_to_the_subset(compose, striped, arm):
    training, subset, _ = compose(arm)
    assert set(subset.rows) < set(training.base.rows) <= set(striped.rows)
    assert list(training.base.class_counts()) == [round(MORE_LABELS[arm] * 4)] * 3


def test_fewer_more_labels_are_among_more_of_them(compose):
    rows = [set(compose(arm)[0].base.rows) for arm in MORE_LABELS]
    assert rows[0] <= rows[1] <= rows[2]


def test_an_arm_that_sees_the_subset_alone_is_given_no_pool(striped):
    with pytest.raises(ValueError, match="asks for the pool"):
        training_set("labels-x2", material(striped, None))
