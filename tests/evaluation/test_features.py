from dataclasses import replace

import numpy as np
import pytest

from data.base.device import Compute
from data.base.errors import CorruptFileError
from data.base.files import digest_file
from evaluation.config import FeaturesConfig
from evaluation.features import feature_network, load_feature_network

CONFIG = FeaturesConfig(members=2, steps=30, batch_size=16, width=4)
COMPUTE = Compute(device="cpu", precision="float32")


def silent(progress):
    pass


def network_of(images, cache, **changes):
    config = CONFIG.model_copy(update=changes)
    return feature_network(images, cache, config=config, compute=COMPUTE, on_progress=silent)


def test_features_have_four_times_the_width(striped, tmp_path):
    measured = network_of(striped, tmp_path).measure(striped.images)
    assert (measured.features.shape, measured.features.dtype) == ((60, 16), np.float32)
    np.testing.assert_allclose(measured.probabilities.sum(1), 1, atol=1e-5)


def test_features_alone_are_the_measured_ones(striped, tmp_path):
    network = network_of(striped, tmp_path)
    np.testing.assert_array_equal(network.features(striped.images), network.measure(striped.images).features)


def test_ensemble_learns_the_labels(striped, tmp_path):
    measured = network_of(striped, tmp_path).measure(striped.images)
    assert (measured.probabilities.argmax(1) == striped.labels).mean() > 0.9


def test_second_use_comes_from_the_cache(striped, tmp_path):
    first = network_of(striped, tmp_path)
    trained = []
    again = feature_network(striped, tmp_path, config=CONFIG, compute=COMPUTE, on_progress=trained.append)
    assert trained == []
    assert again.digest == first.digest == digest_file(next((tmp_path / "features").iterdir()))
    np.testing.assert_array_equal(again.features(striped.images), first.features(striped.images))


def test_training_repeats_to_the_byte(striped, tmp_path):
    assert network_of(striped, tmp_path / "a").digest == network_of(striped, tmp_path / "b").digest


def test_other_data_or_configuration_gets_its_own_network(striped, tmp_path):
    network_of(striped, tmp_path)
    network_of(striped.take(np.arange(30)), tmp_path)
    network_of(striped, tmp_path, seed=1)
    assert len(list((tmp_path / "features").iterdir())) == 3


def test_damaged_cache_is_made_again(striped, tmp_path):
    first = network_of(striped, tmp_path)
    file = next((tmp_path / "features").iterdir())
    file.write_bytes(file.read_bytes()[:100])
    assert network_of(striped, tmp_path).digest == first.digest


def test_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"not tensors")
    with pytest.raises(CorruptFileError, match="feature network"):
        load_feature_network(tmp_path / "x.safetensors", compute=COMPUTE)


def test_half_of_the_images_of_each_class_are_held_out(striped, tmp_path):
    unseen = network_of(striped, tmp_path).unseen(striped)
    assert unseen.class_counts().tolist() == (striped.class_counts() // 2).tolist()


def test_what_was_held_out_comes_back_from_the_cache(striped, tmp_path):
    held_out = network_of(striped, tmp_path).unseen(striped).rows
    np.testing.assert_array_equal(network_of(striped, tmp_path).unseen(striped).rows, held_out)


def test_images_of_a_group_are_held_out_together(striped, tmp_path):
    grouped = replace(striped, groups=np.arange(60) // 6)
    unseen = network_of(grouped, tmp_path).unseen(grouped)
    assert 0 < len(unseen) < 60
    assert set(np.bincount(unseen.groups, minlength=10)) == {0, 6}


def test_images_that_were_all_seen_are_all_that_there_is(striped, tmp_path):
    network = network_of(striped, tmp_path)
    seen = striped.take(np.setdiff1d(np.arange(60), network.unseen(striped).rows))
    assert len(network.unseen(seen)) == len(seen)
