import pytest
from pydantic import ValidationError

from evaluation.config import ARM_NAMES, DEFAULT_ARMS, EvaluationConfig


def test_filtered_arm_is_off_by_default():
    assert "real+classical+filtered" not in EvaluationConfig().arms
    assert set(ARM_NAMES) - set(DEFAULT_ARMS) == {"real+classical+filtered"}


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
