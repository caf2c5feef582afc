"""Consistency training: what the network is shown of images without labels, what it is asked, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data.base.device import Compute
from data.base.errors import UsageError
from data.config import DeformationConfig, ToneConfig
from data.images import LabelledImages
from data.policies import NATURAL, SHIFTED_AND_TONED, OnPixels, Views
from data.tensors import to_unit_range
from data.unlabelled import UnlabelledImages, rest_of_pool
from evaluation.classifiers import fit_classifier
from evaluation.config import ClassifierConfig, ConsistencyConfig
from evaluation.consistency import (
    NUM_DRAWN,
    UnlabelledBatches,
    operations_factor,
    scaled,
    statistics_apart,
    weak_and_strong,
    without_squares,
)
from evaluation.fitting import FitOptions
from evaluation.training_set import Consistency, TrainingSet

CPU = Compute(device="cpu", precision="float32")
STILL = Views(deformation=DeformationConfig(rotation_degrees=0, translation=0, scale=0, shear=0, elastic=0))
DIGITS = Views(deformation=DeformationConfig())


def options(kind="convnet", **changes):
    return FitOptions(
        config=ClassifierConfig(kind=kind, **({"steps": 60, "batch_size": 8, "width": 4} | changes)),
        added_shares=(0.5, 0.0),
        seed=0,
        compute=CPU,
        on_progress=lambda progress: None,
    )


def training(subset, images, *, policy=STILL, **changes):
    consistency = Consistency(images=images, config=ConsistencyConfig(**changes))
    return TrainingSet(base=subset, added=None, policy=policy, consistency=consistency)


@pytest.fixture
def few(striped: LabelledImages) -> tuple[LabelledImages, UnlabelledImages]:
    """One labelled image of each class, and the others without labels."""
    subset = striped.take(np.arange(3))
    return subset, rest_of_pool(striped, subset)


def batches(few, **changes):
    return UnlabelledBatches(training(*few, **changes), options().config, compute=CPU)


def test_a_batch_has_so_many_images_for_each_labelled_one(few):
    assert [len(part) for part in batches(few, ratio=3).draw(torch.Generator())] == [24] * NUM_DRAWN


def test_without_deformations_only_the_square_tells_strong_from_weak(few):
    of_batch = batches(few, cutout=0.5)
    weakly, strongly = of_batch.views(*of_batch.draw(torch.Generator().manual_seed(1)))
    same = (weakly - strongly).abs() < 1e-5
    assert 0.4 < same.float().mean() < 1


def test_strong_views_are_deformed_more_than_weak_ones(few):
    of_batch = batches(few, policy=DIGITS, cutout=0.0, weak=0.2, strong=2.0)
    draws = of_batch.draw(torch.Generator().manual_seed(1))
    weakly, strongly = of_batch.views(*draws)
    still = to_unit_range(few[1].images)[draws[0]]
    assert 1.2 * (weakly - still).abs().mean() < (strongly - still).abs().mean()


def test_scaled_ranges_stay_within_what_ranges_may_be():
    ranges = DeformationConfig(rotation_degrees=90, translation=0.4, scale=0.8, shear=0.8, elastic=0.4)
    views = Views(deformation=ranges, tones=ToneConfig(brightness=0.8, contrast=0.5), flip=0.5)
    more = scaled(views, 3.0)
    assert DeformationConfig.model_validate(more.deformation.model_dump()) == more.deformation
    assert more.tones == ToneConfig(brightness=1.0, contrast=1.0)
    assert scaled(views, 0.5).deformation.rotation_degrees == 45
    assert more.flip == 0.5


def test_views_are_less_and_more_of_the_policy():
    weak, strong = weak_and_strong(NATURAL, ConsistencyConfig(weak=0.5, strong=2.0))
    assert (weak, strong) == (scaled(NATURAL, 0.5), scaled(NATURAL, 2.0))


def test_policies_without_ranges_make_the_strong_views_alone():
    policy = OnPixels(change=lambda images, rng: images)
    assert weak_and_strong(policy, ConsistencyConfig()) == (None, policy)
    assert weak_and_strong(None, ConsistencyConfig()) == (None, SHIFTED_AND_TONED)


@pytest.mark.parametrize("policy", [None, NATURAL, OnPixels(change=lambda images, rng: 255 - images)])
def test_any_policy_can_be_trained_with(few, policy):
    probabilities = fit_classifier(training(*few, policy=policy), options(steps=3)).predict_probabilities(few[1].images)
    assert np.isfinite(probabilities).all()


def test_a_square_in_the_middle_is_filled_with_the_mean():
    images = torch.arange(64.0).view(1, 1, 8, 8)
    cut = without_squares(images, torch.full((1, 2), 0.5), side=0.5)
    changed = (cut != images)[0, 0]
    assert changed.nonzero().min() == 2
    assert changed.nonzero().max() == 5
    assert changed.sum() == 16
    assert (cut[0, 0][changed] == images.mean()).all()


@pytest.mark.parametrize(("threshold", "believed"), [(0.9, 1.0), (0.97, 0.0)])
def test_only_labels_above_the_threshold_are_believed(few, threshold, believed):
    """The probability of class 1 is 0.95."""
    logits = torch.tensor([[0.0, float(np.log(38.0)), 0.0]])
    labels, found = batches(few, threshold=threshold).targets(logits)
    assert (labels.tolist(), found.tolist()) == ([1], [believed])


def test_loss_is_over_all_images_and_of_believed_ones(few):
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    expected = -torch.log_softmax(logits[0], 0)[0] / 2
    loss = batches(few, weight=3.0).loss(logits, torch.tensor([0, 0]), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(3 * expected.item())


def right_answers(training_set, judged):
    """The share that three classifiers recognise, on average."""
    shares = []
    for seed in range(3):
        fitted = fit_classifier(training_set, replace(options(steps=120), seed=seed))
        shares.append((fitted.predict_probabilities(judged.images).argmax(1) == judged.labels).mean())
    return np.mean(shares)


def noisy(striped, *, contrast, noise):
    """Stripes that are hard to see, so that a few images teach the noise, too."""
    added = np.random.default_rng(5).integers(0, noise, striped.images.shape, dtype=np.uint8)
    return replace(striped, images=(striped.images * contrast + added).astype(np.uint8))


@pytest.mark.slow
def test_images_without_labels_make_up_for_missing_labels(striped):
    hard = noisy(striped, contrast=1 / 3, noise=75)
    subset, judged = hard.take(np.arange(6)), hard.take(np.arange(6, 60))
    alone = TrainingSet(base=subset, added=None, policy=STILL)
    helped = training(subset, rest_of_pool(hard, subset), threshold=0.6, ratio=4)
    assert right_answers(helped, judged) > right_answers(alone, judged)


@pytest.mark.slow
def test_a_class_that_most_images_without_labels_belong_to_stays_whole(striped):
    """Eleven of twelve are of it; a batch of theirs that is normalised by itself looks like one of even classes."""
    hard = noisy(striped, contrast=1 / 4, noise=60)
    subset = hard.take(np.arange(6))
    frequent, others = np.flatnonzero(hard.labels == 0)[2:], np.flatnonzero(hard.labels != 0)[4:]
    rest = rest_of_pool(hard.take(np.r_[np.resize(frequent, 44), others[:4]]), subset)
    trained = training(subset, rest, policy=None)
    assert right_answers(trained, hard.take(frequent)) > 0.75
    assert right_answers(trained, hard.take(others)) > 0.6


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm2d(1), nn.InstanceNorm2d(1, track_running_stats=True), nn.Flatten(), nn.Dropout(0.5)
    ).train()


@pytest.mark.parametrize("place", [0, 1])
def test_of_images_without_labels_no_statistics_are_kept(network, place):
    batch = torch.randn(8, 1, 2, 2) + 3
    with statistics_apart(network):
        normalised = network[place](batch)
    assert abs(float(normalised.detach().mean())) < 1
    assert float(network[place].running_mean) == 0
    network[place](batch)
    assert float(network[place].running_mean) > 0


def test_frozen_statistics_are_gone_by(network):
    network[0].eval()
    batch = torch.randn(8, 1, 2, 2) + 3
    expected = network[0](batch)
    with statistics_apart(network):
        assert torch.equal(network[0](batch), expected)


def test_a_scripted_network_is_no_obstacle():
    scripted = torch.jit.script(nn.Sequential(nn.BatchNorm2d(1), nn.Flatten()))
    before = scripted.state_dict()["0.running_mean"].clone()
    with statistics_apart(scripted):
        scripted(torch.randn(2, 1, 2, 2) + 3)
    assert not torch.equal(scripted.state_dict()["0.running_mean"], before)  # it keeps statistics by code of its own


def test_statistics_are_those_of_labelled_images(striped):
    """Images without labels are bright, and would shift them."""
    subset, bright = striped.take(np.arange(6)), replace(striped, images=(striped.images // 4 + 180).astype(np.uint8))
    rest = rest_of_pool(bright, bright.take(np.arange(6)))
    alone, beside = (
        fit_classifier(material, options(steps=20)).network.layers[1].running_mean
        for material in (
            TrainingSet(base=subset, added=None, policy=None),
            training(subset, rest, policy=None, weight=1e-6),
        )
    )
    torch.testing.assert_close(beside, alone, rtol=0.2, atol=0.05)


def test_resnets_can_be_trained_with_images_without_labels(few):
    fitted = fit_classifier(training(*few), options("resnet18", steps=2))
    assert np.isfinite(fitted.predict_probabilities(few[1].images)).all()


def test_training_is_the_same_again(few):
    first, second = (
        fit_classifier(training(*few), options(steps=10)).predict_probabilities(few[1].images) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_the_same_classifier(few):
    answers = [
        fit_classifier(
            training(*few, policy=DIGITS),
            replace(options(), compute=Compute(device=device, precision="float32")),
        ).predict_probabilities(few[1].images)
        for device in ("cpu", "cuda")
    ]
    assert np.abs(answers[0] - answers[1]).mean() < 0.05


def test_training_for_longer_takes_so_many_more_steps(few):
    seen = []
    fit_classifier(training(*few, longer=2.5), replace(options(steps=10), on_progress=seen.append))
    assert seen[-1].num_steps == 25


def test_operations_count_every_view():
    assert operations_factor(ConsistencyConfig(ratio=3, longer=2.0)) == pytest.approx(2 * (1 + 3 + 1))


def test_other_classifiers_refuse(few):
    with pytest.raises(UsageError, match="knn is no network, and cannot be trained for consistency"):
        fit_classifier(training(*few), options("knn"))


def test_labelled_batches_are_those_of_other_arms(few, monkeypatch):
    seen = []

    class Recording(Views):
        def draw(self, pixels, rng):
            seen.append(pixels.tobytes())
            return super().draw(pixels, rng)

    subset, images = few
    policy = Recording(deformation=STILL.deformation)
    fit_classifier(TrainingSet(base=subset, added=None, policy=policy), options(steps=5))
    alone = seen.copy()
    seen.clear()
    monkeypatch.setattr("evaluation.consistency.weak_and_strong", lambda policy, config: (None, STILL))
    fit_classifier(training(subset, images, policy=policy), options(steps=5))
    assert seen == alone
