"""The public face in Python: from arrays to a report, nothing printed, no server."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import augmentation_gain as ag
from data.base.errors import CorruptFileError, UsageError

QUICK = {
    "replicates": 2,
    "data.images_per_class": (4,),
    "gan.steps": 3,
    "gan.batch_size": 8,
    "gan.generator_width": 4,
    "gan.discriminator_width": 4,
    "sampling.images_per_class": 6,
    "evaluation.arms": ("real", "real+classical", "real+classical+synthetic"),
    "evaluation.classifier_seeds": 1,
    "evaluation.classifier.steps": 4,
    "evaluation.classifier.width": 4,
    "evaluation.samples.features.steps": 4,
    "evaluation.samples.features.width": 4,
    "compute.device": "cpu",
}


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return (found.images * 15.9).astype(np.uint8), np.array([f"digit {label}" for label in found.target])


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    directory = tmp_path_factory.mktemp("face") / "run"
    return directory, ag.study(*digits, directory=directory, settings=QUICK)


def test_arrays_make_a_study(run):
    _, report = run
    assert report.dataset.class_names == tuple(f"digit {label}" for label in range(10))
    assert report.regimes[0].num_replicates == 2
    assert "points of accuracy" in report.sentence


def test_nothing_is_printed(digits, tmp_path, capsys):
    ag.study(*digits, settings=QUICK | {"replicates": 1})
    assert capsys.readouterr() == ("", "")


def test_report_is_read_back_and_compared(run):
    directory, report = run
    assert ag.load_report(directory) == report
    assert ag.compare([directory, directory]).regressions == ()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), None, "images need labels"),
        (np.zeros((3, 8, 8), np.uint8), [0, 1], "with 2 labels"),
        (np.zeros((3, 8, 8), np.float32), [0, 1, 1], "uint8"),
    ],
)
def test_impossible_arrays_are_told(images, labels, message):
    with pytest.raises(UsageError, match=message):
        ag.study(images, labels)


def test_missing_report_is_named(tmp_path):
    with pytest.raises(CorruptFileError, match="is missing"):
        ag.load_report(tmp_path)
