import tomllib

import pytest
import tomli_w
from pydantic import ValidationError

from data.config import DataConfig


def test_texts_of_numbers_become_numbers():
    config = DataConfig(images_per_class=("10", "all", "long-tailed:500:100"))
    assert config.images_per_class == (10, "all", "long-tailed:500:100")


@pytest.mark.parametrize("value", [0, -3, "some", "long-tailed:0:10", "long-tailed:50:0.5", "long-tailed:50", ""])
def test_unknown_regimes_are_refused(value):
    with pytest.raises(ValidationError):
        DataConfig(images_per_class=(value,))


def test_a_regime_may_be_given_once():
    with pytest.raises(ValidationError, match="given once"):
        DataConfig(images_per_class=(10, "10"))


@pytest.mark.parametrize("side", [4, 30, 128])
def test_networks_could_not_take_the_size(side):
    with pytest.raises(ValidationError):
        DataConfig(resize=side)


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError):
        DataConfig(datset="mnist")


def test_json_round_trip():
    config = DataConfig(images_per_class=(10, "long-tailed:50:10"), resize=32)
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config


def test_defaults_can_be_written_as_toml():
    tree = DataConfig().model_dump(mode="json")
    assert DataConfig.model_validate(tomllib.loads(tomli_w.dumps(tree))) == DataConfig()
