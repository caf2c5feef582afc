import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock

from data.base.device import Compute
from data.base.errors import CorruptFileError
from data.base.files import digest_file
from evaluation import features
from evaluation.config import FeaturesConfig
from evaluation.features import feature_network, load_feature_network, lock_file

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


@pytest.fixture
def trained(monkeypatch):
    """The members that were trained, by index; the second one is trained once somebody waits."""
    found, waited = [], threading.Event()
    train = features._train_member

    def counted(shown, index, **options):
        found.append(index)
        if index == 1:
            waited.wait(20)
        return train(shown, index, **options)

    monkeypatch.setattr(features, "_train_member", counted)
    return found, waited


def test_two_that_need_a_new_instrument_train_it_once(striped, tmp_path, trained):
    found, waited = trained

    def make(_):
        return feature_network(
            striped, tmp_path, config=CONFIG, compute=COMPUTE, on_progress=silent, on_wait=waited.set
        )

    with ThreadPoolExecutor(2) as threads:  # each opens the lock's file itself, as processes do
        first, second = threads.map(make, range(2))
    assert waited.is_set()
    assert found == [0, 1]
    assert first.digest == second.digest


def path_of_instrument(striped, tmp_path):
    network_of(striped, tmp_path)
    path = next((tmp_path / "features").iterdir())
    path.unlink()
    return path


def test_the_lock_of_a_process_that_died_holds_up_nobody(striped, tmp_path):
    path = path_of_instrument(striped, tmp_path)
    hold = "import sys, time; from filelock import FileLock; FileLock(sys.argv[1]).acquire(); print(1, flush=True)"
    command = [sys.executable, "-c", f"{hold}; time.sleep(60)", str(lock_file(path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        holder.send_signal(signal.SIGKILL)
    waits = []
    feature_network(
        striped, tmp_path, config=CONFIG, compute=COMPUTE, on_progress=silent, on_wait=lambda: waits.append(1)
    )
    assert waits == []
    assert path.exists()


def test_nobody_waits_for_ever_for_a_process_that_hangs(striped, tmp_path, monkeypatch):
    path = path_of_instrument(striped, tmp_path)
    monkeypatch.setattr(features, "WAIT_SECONDS", 0.2)
    with FileLock(lock_file(path)):
        network_of(striped, tmp_path)
    assert path.exists()


def test_where_there_are_no_locks_it_is_made_and_kept(striped, tmp_path, monkeypatch):
    def unsupported(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", unsupported)
    network = network_of(striped, tmp_path)
    assert network.digest == digest_file(next((tmp_path / "features").iterdir()))


def test_a_cache_that_cannot_be_written_is_done_without(striped, tmp_path):
    (tmp_path / "file").touch()
    assert network_of(striped, tmp_path / "file").digest == network_of(striped, tmp_path / "folder").digest


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
