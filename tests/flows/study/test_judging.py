"""Judging a ready-made synthetic set: which design, what it refuses, and what it says it cannot know."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.base.errors import AugmentError
from data.images import LabelledImages
from data.sources.registry import load_source
from evaluation.baselines import pca_mixture
from evaluation.reporting.report import read_report
from evaluation.reporting.run_files import REPORT_HTML, REPORT_JSON
from flows.study.designs import seen_by_generator, study_designs, study_source
from flows.study.generators.made import dataset_at, write_folder, write_npz, write_parquet
from flows.study.judging import JudgeRequest, judge_config
from flows.study.running import run_study

QUICK = {
    "evaluation.classifier.steps": 20,
    "evaluation.classifier.width": 4,
    "evaluation.classifier_seeds": 1,
    "evaluation.samples.max_images": 100,
    "evaluation.samples.unseen_images": 50,
    "evaluation.samples.features.steps": 20,
    "evaluation.samples.features.width": 4,
    "evaluation.arms": ["real", "real+classical", "real+classical+synthetic", "deformed-copies"],
    "compute.device": "cpu",
    "compute.precision": "float32",
}


@pytest.fixture(scope="module")
def digits() -> LabelledImages:
    return load_source("digits").train


def of_digits(digits, *, first, per_class):
    rows = [np.flatnonzero(digits.labels == label)[first : first + per_class] for label in range(10)]
    return digits.take(np.concatenate(rows))


def made_of(images, per_class=15):
    pixels, labels = pca_mixture(images.images, images.labels, per_class, 0)
    rows = np.arange(len(labels))
    return LabelledImages(images=pixels, labels=labels, rows=rows, class_names=images.class_names)


@pytest.fixture
def places(digits, tmp_path):
    """Real images in a folder, synthetic ones as Parquet, and others to test on in a folder."""
    real = of_digits(digits, first=0, per_class=12)
    write_folder(tmp_path / "real", real)
    write_parquet(tmp_path / "made", made_of(real))
    write_folder(tmp_path / "test", of_digits(digits, first=40, per_class=8))
    return {name: str(tmp_path / name) for name in ("real", "made", "test")}


def request(places, **changes):
    return JudgeRequest(**{"real": places["real"], "synthetic": places["made"], "settings": QUICK} | changes)


def test_bare_paths_are_known_by_their_looks(places, digits, tmp_path):
    write_npz(tmp_path / "some.npz", of_digits(digits, first=0, per_class=2))
    assert dataset_at(places["real"]) == f"folder:{places['real']}"
    assert dataset_at(places["made"]) == f"parquet:{places['made']}"
    assert dataset_at(str(tmp_path / "some.npz")) == f"npz:{tmp_path / 'some.npz'}"


def test_without_a_test_split_there_are_folds_and_a_word_on_what_they_hide(places):
    config = judge_config(request(places))
    assert config.data.design == "one data set"
    assert config.sampling.images_per_class == 15
    assert "the gain is too high; only a test split" in seen_by_generator(config.generator, study_designs(config))


def test_with_a_test_split_all_real_images_train_in_every_replicate(places):
    config = judge_config(request(places, test=places["test"]))
    (design,) = study_designs(config).values()
    assert [len(design.split(replicate).pool) for replicate in range(2)] == [120, 120]
    assert len(design.split(0).test) == 80
    assert "only if it never saw the test images" in seen_by_generator(config.generator, study_designs(config))


def test_a_generator_that_was_given_its_subset_hides_nothing(places):
    config = judge_config(request(places))
    assert seen_by_generator("gan", study_designs(config)) == ""


@pytest.mark.slow
def test_the_report_names_the_set_and_warns_of_what_nobody_knows(places, tmp_path):
    config = judge_config(request(places, test=places["test"], settings=QUICK | {"replicates": 2}))
    run_study(config, tmp_path / "run")
    report = read_report(tmp_path / "run" / REPORT_JSON)
    assert "augmentation by the set parquet:made" in report.sentence
    assert "2 trainings on the same images" in report.sentence
    assert "cannot be known" in report.dataset.warning
    (regime,) = report.regimes
    assert regime.next_draw is None
    assert regime.headline.low is not None
    assert np.isfinite(regime.headline.low)
    assert "cannot be known" in (tmp_path / "run" / REPORT_HTML).read_text()


def resized(images, side):
    pixels = [np.asarray(Image.fromarray(image[0]).resize((side, side))) for image in images.images]
    return LabelledImages(
        images=np.stack(pixels)[:, None], labels=images.labels, rows=images.rows, class_names=images.class_names
    )


def test_both_sets_get_one_size_where_that_is_asked_for(places, digits, tmp_path):
    write_folder(tmp_path / "large", resized(made_of(of_digits(digits, first=0, per_class=12)), 20))
    with pytest.raises(AugmentError, match=r"--synthetic: .*20x20 pixels, the real ones 8x8.*--resize N"):
        judge_config(request(places, synthetic=str(tmp_path / "large")))
    config = judge_config(request(places, synthetic=str(tmp_path / "large"), resize=12))
    assert study_source(config.data).train.shape == (1, 12, 12)


def spoil(place: Path, how: str, digits: LabelledImages) -> None:
    images = made_of(of_digits(digits, first=0, per_class=12))
    match how:
        case "another class":
            write_folder(place, images)
            (place / "9").rename(place / "nine")
        case "few":
            write_folder(place, images.take(np.flatnonzero((images.labels != 3) | (images.rows == 45))))
        case "unlabelled":
            place.mkdir()
            Image.fromarray(images.images[0, 0]).save(place / "0.png")
        case "unreadable":
            write_folder(place, images)
            (place / "4" / "00000060.png").write_bytes(b"no picture")
        case "empty":
            place.mkdir()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("another class", 'the class "nine" is none of the real ones: 0, 1, 2'),
        ("few", "1 of the 2 images of class '3' are there"),
        ("unlabelled", "is no data set that is known by its looks"),
        ("unreadable", "00000060.png"),
        ("empty", "is no data set that is known by its looks"),
        ("missing", "there is nothing at"),
    ],
)
def test_synthetic_sets_that_cannot_be_judged_are_refused_in_one_line(places, digits, tmp_path, how, message):
    spoil(tmp_path / "bad", how, digits)
    with pytest.raises(AugmentError, match=message) as found:
        judge_config(request(places, synthetic=str(tmp_path / "bad")))
    assert str(found.value).startswith("--synthetic: ")
    assert "\n" not in str(found.value)


def test_test_images_come_in_the_form_of_the_real_ones(places):
    with pytest.raises(AugmentError, match=r"--test is parquet:.*, --real is folder:"):
        judge_config(request(places, test=places["made"]))
    with pytest.raises(AugmentError, match="not with a data set that has a name"):
        judge_config(request(places, real="digits", test=places["test"]))
