import pytest
from pydantic import ValidationError

from evaluation.arms import ARMS, BASELINE_ARMS, default_arms
from evaluation.config import ClassifierConfig
from evaluation.protocol import EvaluationConfig


def test_arms_on_request_are_off_by_default():
    on_request = {
        "real+synthetic",
        "real+classical+filtered",
        "oversampled",
        "class-weighted",
        "evened-out",
        "pseudo-labels",
        "fixmatch",
        "fixmatch+synthetic",
        "synthetic+classical",
        *BASELINE_ARMS,
    }
    assert set(ARMS) - set(EvaluationConfig().arms) == on_request
    assert EvaluationConfig().arms == default_arms()


def test_evened_out_arm_needs_its_reference():
    with pytest.raises(ValidationError, match="measured against oversampled"):
        EvaluationConfig(arms=(*default_arms(), "evened-out"))


def test_neighbours_cannot_weight_classes():
    with pytest.raises(ValidationError, match="knn has no loss to weight"):
        EvaluationConfig(arms=(*default_arms(), "class-weighted"), classifier=ClassifierConfig(kind="knn"))


@pytest.mark.parametrize("kind", ["logistic_regression", "knn"])
def test_only_networks_are_trained_for_consistency(kind):
    with pytest.raises(ValidationError, match=f"{kind} cannot be trained for consistency; leave out the arms fixmatch"):
        EvaluationConfig(arms=(*default_arms(), "fixmatch"), classifier=ClassifierConfig(kind=kind))


def test_arms_are_put_in_order():
    config = EvaluationConfig(arms=("real+classical+synthetic", "real+classical", "real"))
    assert config.arms == ("real", "real+classical", "real+classical+synthetic")


def test_headline_arms_cannot_be_left_out():
    with pytest.raises(ValidationError, match=r"needs the arms real\+classical\+synthetic"):
        EvaluationConfig(arms=("real", "real+classical"))


def test_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="extra"):
        EvaluationConfig(arm=("real",))


def test_configuration_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        EvaluationConfig().confidence = 0.9


@pytest.mark.parametrize(("num_images", "first"), [(10, 0.5), (100, 0.5), (400, 0.25), (10_000, 0.05)])
def test_fewer_synthetic_images_are_added_the_more_real_ones_there_are(num_images, first):
    assert EvaluationConfig().for_subset(num_images, policy="none").added_shares == (pytest.approx(first), 0.0)


@pytest.mark.parametrize(("num_images", "shares"), [(100, (0.75, 0.5)), (400, (0.375, 0.25))])
def test_with_images_without_labels_more_of_what_is_added_stays_to_the_end(num_images, shares):
    assert EvaluationConfig().for_subset(num_images, policy="none", unlabelled=True).added_shares == shares
    asked = EvaluationConfig(added_share=0.3, final_added_share=0.1)
    assert asked.for_subset(num_images, policy="none", unlabelled=True).added_shares == (0.3, 0.1)
    asked = EvaluationConfig(added_share=0.2)
    assert asked.for_subset(num_images, policy="none", unlabelled=True).added_shares == (0.2, 0.2)


def test_a_share_that_is_asked_for_holds_for_any_number_of_images():
    assert EvaluationConfig(added_share=0.3).for_subset(10_000, policy="none").added_shares == (0.3, 0.0)


def test_the_share_never_starts_below_where_it_ends():
    assert EvaluationConfig(final_added_share=0.4).for_subset(10_000, policy="none").added_shares == (0.4, 0.4)


@pytest.mark.parametrize("share", [0, 1, "much"])
def test_a_share_is_a_fraction_or_auto(share):
    with pytest.raises(ValidationError, match="added_share"):
        EvaluationConfig(added_share=share)
