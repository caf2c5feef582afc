"""Configuration: precedence, validation, and what a typing error gets."""

from pathlib import Path

import pytest

from data.base.errors import UsageError
from flows.study.config import StudyConfig, preset, resolve_config, to_toml


def resolve(*assignments: str, file: Path | None = None, **options: object) -> StudyConfig:
    return resolve_config(
        preset_name="quick",
        file=file,
        options={key.replace("__", "."): value for key, value in options.items()},
        assignments=assignments,
    )


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text("seed = 1\nreplicates = 7\n[gan]\nsteps = 70\nlatent_dim = 7\n")
    config = resolve("gan.steps=90", file=file, replicates=8)
    assert (config.seed, config.replicates, config.gan.latent_dim, config.gan.steps) == (1, 8, 7, 90)
    assert config.gan.batch_size == preset("quick").gan.batch_size


@pytest.mark.parametrize("name", ["quick", "standard", "full"])
def test_toml_round_trip(name: str, tmp_path: Path) -> None:
    config = preset(name)  # type: ignore[arg-type]
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config))
    assert resolve(file=file) == config


def test_the_default_of_every_setting_is_the_quick_preset() -> None:
    assert resolve() == StudyConfig() == preset("quick")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("gan.learning_rat=1e-4", "did you mean 'learning_rate'"),
        ("replicates=0", "configuration replicates = 0: Input should be greater than or equal to 1"),
        ("data.folds=1", "configuration data.folds = 1: Input should be greater than or equal to 2"),
        ("gan.learning_rate=inf", "gan.learning_rate = inf: Input should be a finite number"),
        ("generator_time_limit=inf", "a finite number"),
        ("evaluation.classifier.parameters={C=nan}", "classifier.parameters = nan: Input should be a finite number"),
        ("seed=9223372036854775808", "less than or equal to 9223372036854775807"),
        ("replicates=1e9", "less than or equal to 10000"),
        ("compute.threads=100000000000", "less than or equal to 1024"),
        ("data.images_per_class=[-1]", "images_per_class"),
        ("data.images_per_class=[10, 10]", "given once"),
        ("gan.loss=wasserstein", "gan.loss"),
        ("gan={loss='relativistic', r1_gamma=0}", "r1_gamma"),
        ("evaluation.arms=['real']", "headline needs"),
        ("gan", "key=value"),
        ("seed.x=1", "no keys below"),
    ],
)
def test_bad_values_are_named(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        resolve(assignment)


def test_missing_and_malformed_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read configuration"):
        resolve(file=tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    for content in ("seed = = 1", "seed = " + "[" * 20_000):
        broken.write_text(content)
        with pytest.raises(UsageError, match="not valid TOML"):
            resolve(file=broken)


def test_files_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("seed = 3", encoding="utf-8-sig")
    assert resolve(file=tmp_path / "x.toml").seed == 3


@pytest.mark.parametrize("value", ["10", "10.0", "'10'", "[10]"])
def test_one_number_of_images_is_enough(value: str) -> None:
    assert resolve(f"data.images_per_class={value}").data.images_per_class == (10,)


def test_error_of_a_whole_table_does_not_print_the_table() -> None:
    arms = '["real", "real+classical", "real+classical+synthetic", "class-weighted"]'
    with pytest.raises(UsageError, match=r"^configuration evaluation: knn has no loss to weight"):
        resolve('evaluation.classifier.kind="knn"', f"evaluation.arms={arms}")
