import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data.base.device import Compute
from data.base.errors import UsageError
from evaluation.checks import CHECK_NAMES
from evaluation.config import FeaturesConfig, SamplesConfig
from evaluation.features import feature_network
from evaluation.samples import RealData, SampleEvaluation, constant_share, evaluate_samples, subsample, write_pictures

CONFIG = SamplesConfig(max_images=40, neighbours=2, pictured=4, features=FeaturesConfig(width=2))


@pytest.fixture
def real(striped):
    part = np.arange(60)
    return RealData(subset=striped.take(part[:18]), train=striped.take(part[:36]), test=striped.take(part[36:]))


@pytest.fixture
def judge(real, tmp_path):
    config = FeaturesConfig(members=1, steps=30, batch_size=16, width=2)
    compute = Compute(device="cpu", precision="float32")
    network = feature_network(real.train, tmp_path, config=config, compute=compute, on_progress=lambda progress: None)

    def judge(synthetic, real=real):
        return evaluate_samples(synthetic, real=real, network=network, config=CONFIG, seed=0)

    return judge


def outcome(evaluation, name):
    return next(check.passed for check in evaluation.checks if check.name == name)


def test_evaluation_is_json_without_nan_and_comes_back(judge, real):
    evaluation = judge(real.test)
    text = json.dumps(evaluation.model_dump(mode="json"), allow_nan=False)
    assert SampleEvaluation.model_validate_json(text) == evaluation
    assert tuple(check.name for check in evaluation.checks) == CHECK_NAMES


def test_evaluation_repeats(judge, real):
    assert judge(real.test) == judge(real.test)


def test_sizes_are_recorded_and_samples_keep_their_index(judge, striped):
    evaluation = judge(striped)
    assert (evaluation.num_synthetic, evaluation.num_images) == (60, 40)
    assert max(pair.sample for pair in evaluation.memorisation.pairs) < 60


def test_replayed_subset_fails_the_copy_checks(judge, real):
    assert outcome(judge(real.subset), "no copies of training images") is False


def test_empty_class_gives_reasons_and_no_crash(judge, real):
    evaluation = judge(real.test.take(np.flatnonzero(real.test.labels != 2)))
    assert evaluation.labels.classes[2].agreement.unavailable == "no images of this class"
    assert evaluation.fidelity.classes[2].synthetic.fid.value is None


def test_constant_images_are_named(judge, real):
    evaluation = judge(replace(real.test, images=np.zeros_like(real.test.images)))
    assert outcome(evaluation, "not constant") is False


def test_single_sample_gives_reasons_and_no_crash(judge, real):
    evaluation = judge(real.test.take(np.arange(1)))
    assert outcome(evaluation, "no duplicates") is None
    assert outcome(evaluation, "varied in every class") is None


def test_leak_check_is_unavailable_where_the_subset_is_all_of_train(judge, real):
    whole = RealData(subset=real.train, train=real.train, test=real.test)
    evaluation = judge(real.test, real=whole)
    assert outcome(evaluation, "test set unseen") is None
    assert evaluation.memorisation.unseen_from == "test images"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: it.take(np.zeros(0, np.int64)), "no synthetic images"),
        (lambda it: replace(it, images=it.images[:, :, :4]), "1x4x8"),
        (lambda it: replace(it, class_names=("a", "b", "c")), "have the classes a, b, c"),
    ],
)
def test_input_that_does_not_fit_is_refused(judge, real, change, message):
    with pytest.raises(UsageError, match=message):
        judge(change(real.test))


def test_subsample_keeps_the_shares_of_the_classes(striped):
    uneven = striped.take(
        np.concatenate([np.flatnonzero(striped.labels == 0), np.flatnonzero(striped.labels == 1)[:10]])
    )
    drawn = subsample(uneven, 15, rng=np.random.default_rng(0))
    assert drawn.class_counts().tolist() == [10, 5, 0]


def test_constant_share_looks_at_each_channel():
    images = np.zeros((2, 3, 4, 4), np.uint8)
    images[0, 1] = 9
    images[1, 2, 0, 0] = 1
    assert constant_share(images) == 0.5


def test_pictures_have_a_column_per_pair(judge, real, striped, tmp_path):
    evaluation = judge(striped)
    write_pictures(tmp_path, evaluation, synthetic=striped, subset=real.subset)
    with Image.open(tmp_path / "suspicious_pairs.png") as pairs, Image.open(tmp_path / "worst_labels.png") as worst:
        assert (pairs.size, worst.size) == ((4 * 10 * 3, 2 * 10 * 3), (4 * 10 * 3, 10 * 3))
