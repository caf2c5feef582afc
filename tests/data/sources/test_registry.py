import pytest

from data.base.errors import AugmentError, SourceUnavailableError, UsageError
from data.config import DataConfig
from data.decoding import encode_pngs
from data.parquet import write_published_shard
from data.sources import fetching
from data.sources.registry import KINDS, known_datasets, load_source, missing_data


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    monkeypatch.setenv("AUGMENT_DATA", str(tmp_path))
    monkeypatch.setattr(fetching, "answering", lambda addresses: None)


def test_digits_are_always_there():
    source = load_source("digits")
    assert (len(source.train), len(source.test)) == (1257, 540)
    assert not set(source.train.rows) & set(source.test.rows)
    assert source.train.images.max() == 255


@pytest.mark.usefixtures("nothing_here")
def test_the_default_falls_back_to_digits_and_says_so():
    source = load_source("auto")
    assert source.name == "digits"
    assert "MNIST is not available" in source.warning


@pytest.mark.usefixtures("nothing_here")
def test_an_explicit_name_does_not_fall_back():
    with pytest.raises(SourceUnavailableError, match="digits"):
        load_source("mnist")


@pytest.mark.usefixtures("nothing_here")
def test_the_list_says_what_is_present():
    present = {dataset.name: dataset.is_present for dataset in known_datasets()}
    assert len(present) == 8
    assert [name for name, here in present.items() if here] == ["digits"]


def test_present_mnist_is_listed(mnist_root, monkeypatch):
    monkeypatch.setenv("AUGMENT_DATA", str(mnist_root))
    assert {dataset.name for dataset in known_datasets() if dataset.is_present} >= {"mnist", "digits"}


@pytest.mark.parametrize("name", ["mnits", "../mnist", "csv:x", "parquet:", "folder:\0"])
def test_unknown_names_are_refused(name):
    with pytest.raises(UsageError):
        load_source(name)


def test_a_close_name_is_suggested():
    with pytest.raises(UsageError, match="did you mean 'kmnist'"):
        load_source("kmnits")


def test_parquet_by_name_with_configuration(tmp_path, striped):
    path = tmp_path / "x.parquet"
    write_published_shard(
        path,
        encoded=encode_pngs(striped.images),
        labels=striped.labels,
        names=[""] * 60,
        class_names=striped.class_names,
        extra={},
    )
    source = load_source(DataConfig(dataset=f"parquet:{path}", test_share=0.5))
    assert len(source.test) == 30
    assert source.name == "parquet:x.parquet"


@pytest.mark.parametrize("option", [{"resize": 32}, {"test": "x"}, {"bits": 12}, {"validation": "train"}])
@pytest.mark.parametrize("name", ["digits", "auto"])
def test_no_key_is_ignored_for_data_sets_with_names(name, option):
    with pytest.raises(UsageError, match=rf"data\.{next(iter(option))} is for data sets given by KIND:PATH"):
        load_source(DataConfig(dataset=name, **option))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_refuses_what_is_not_there_and_what_holds_nothing(tmp_path, kind):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(AugmentError) as caught:
            load_source(f"{kind}:{path}")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("x.npz", "write npz:"),
        ("x.csv.gz", "write csv:"),
        ("train.parquet", "write parquet:"),
        ("x.zip", r"unpack x\.zip"),
    ],
)
def test_a_path_without_its_kind_is_recognised(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UsageError, match=f"is a path; {advice}"):
        load_source(str(tmp_path / name))


def test_a_folder_of_classes_without_its_kind_is_recognised(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(UsageError, match="write folder:"):
        load_source(str(tmp_path))


@pytest.mark.parametrize("option", ["split_column", "image_folder"])
def test_options_of_tables_are_refused_elsewhere(tmp_path, option):
    with pytest.raises(
        UsageError, match=rf"data\.{option} is for tables \(parquet, arrow, csv, jsonl\), not for folder:PATH"
    ):
        load_source(DataConfig(dataset=f"folder:{tmp_path}", **{option: "x"}))


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "x" * 300, "loop/x"])
@pytest.mark.parametrize("kind", KINDS)
def test_paths_that_cannot_be_looked_at_are_one_line(tmp_path, monkeypatch, kind, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    for options in ({"dataset": f"{kind}:{path}"}, {"dataset": f"{kind}:.", "test": path}):
        with pytest.raises(AugmentError):
            load_source(DataConfig(**options))
    with pytest.raises(UsageError):
        load_source(path)


def test_what_is_tested_on_is_said_once():
    with pytest.raises(ValueError, match="split_column and test both say"):
        DataConfig(dataset="csv:x.csv", split_column="split", test="y.csv")


def test_data_that_lie_nowhere_are_told_without_reading_any(tmp_path):
    (tmp_path / "images").mkdir()
    there, gone = f"folder:{tmp_path / 'images'}", f"csv:{tmp_path / 'table.csv'}"
    assert missing_data(DataConfig(dataset=there)) == ""
    assert missing_data(DataConfig(dataset=there, unlabelled=gone)) == f"nothing lies at {tmp_path / 'table.csv'}"
    assert missing_data(DataConfig(dataset=f"csv:{tmp_path}/part-*.csv")) == ""
    assert missing_data(DataConfig(dataset=f"idx:{tmp_path}/t10k")) == ""
    with pytest.raises(UsageError, match="unknown dataset 'mnits'"):
        missing_data(DataConfig(dataset="mnits"))
