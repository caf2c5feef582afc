import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from data.sources.digits import load_sklearn_digits
from evaluation.membership import attack, auc_with_error, measure_membership


def test_auc_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    members, others = rng.normal(1, 1, 40), rng.normal(0, 1, 90).round(1)
    truth = np.repeat([1, 0], [40, 90])
    assert auc_with_error(members, others)[0] == pytest.approx(roc_auc_score(truth, np.concatenate([members, others])))


def test_standard_error_of_the_auc_is_the_spread_over_repetitions():
    rng = np.random.default_rng(0)
    drawn = [auc_with_error(rng.normal(0.7, 1, 60), rng.normal(0, 1, 80)) for _ in range(400)]
    aucs, errors = np.array(drawn).T
    assert np.mean(errors) == pytest.approx(aucs.std(), rel=0.15)


def test_few_images_give_no_attack():
    assert "10 of each" in attack(np.zeros(9), np.zeros(50)).unavailable


@pytest.fixture(scope="module")
def parts():
    train = load_sklearn_digits().train
    return train.take(np.arange(100)), train.take(np.arange(100, 700)), train.take(np.arange(700, 900))


def measured(samples, parts):
    members, others, known = parts
    return measure_membership(samples, members=members, others=others, known=known, rng=np.random.default_rng(0))


def test_samples_that_are_the_training_images_give_all_of_them_away(parts):
    found = measured(parts[0], parts)
    assert found.samples.auc > 0.99
    assert found.samples.caught > 0.9
    assert "give away who was in training" in found.sentence()


def test_samples_of_other_images_tell_nothing(parts):
    found = measured(load_sklearn_digits().train.take(np.arange(900, 1200)), parts)
    assert found.samples.auc_low < 0.5 < found.samples.auc_high
    assert "does not tell" in found.sentence()


def test_control_finds_nothing_where_nothing_is(parts):
    control = measured(parts[0], parts).control
    assert control.auc_low < 0.5 < control.auc_high


def test_a_generator_that_makes_members_again_gives_them_away(parts):
    members, others, known = parts
    near = set(members.rows.tolist())
    found = measure_membership(
        others,
        members=members,
        others=others,
        known=known,
        rng=np.random.default_rng(0),
        nearest_made=lambda images: np.array([0.0 if row in near else 1.0 for row in images.rows]),
    )
    assert (found.generator.auc, found.generator.caught) == (1, 1)
    assert "The generator file gives away who was in training: AUC 1.00" in found.sentence()


def test_without_a_generator_nothing_is_said_of_its_file(parts):
    assert "generator" not in measured(parts[0], parts).sentence()
