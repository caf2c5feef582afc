import pytest

from data.base.errors import UsageError
from data.config import DataConfig
from data.sources.splits import assign_roles, nearest_split, split_named


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Train", "train"), ("my_train.parquet", "train"), ("train-00000-of-00002", "train"),
        ("TRAINING", "train"), ("trainSet", "train"), ("mnist.train.csv", "train"), ("train2017", "train"),
        ("split=train", "train"), ("train_val", "train"), ("trainval", "train"), ("MyTrain", "train"),
        ("test", "test"), ("my-TEST-images", "test"), ("t10k-images-idx3-ubyte", "test"), ("test10k", "test"),
        ("val", "validation"), ("valid", "validation"), ("validation-0", "validation"), ("DEV", "validation"),
        ("trainingset", "train"), ("validationset", "validation"), ("testimages", "test"), ("dev_data", "validation"),
        ("Validate", "validation"), ("holdout", "test"), ("dataset", None), ("labels", None), ("asset", None),
        ("x", None), ("latest", None), ("contest", None), ("devices", None), ("strain", None), ("invalid", None),
        ("train_test_split", None), ("st10kx", None), ("", None),
    ],
)  # fmt: skip
def test_splits_are_words_in_names(name, split):
    assert split_named(name) == split


@pytest.mark.parametrize(
    ("parts", "split"),
    [
        (("train", "0.parquet"), "train"),
        (("train", "test.parquet"), "test"),
        (("test", "a", "0.parquet"), "test"),
        (("a",), None),
    ],
)
def test_the_nearest_name_counts(parts, split):
    assert nearest_split(parts) == split


def assign(parts, named_test=None, **options):
    return assign_roles(parts, DataConfig(**options), where="here", describe=" ".join, named_test=named_test)


ALL = {"train": ["a"], "validation": ["b"], "test": ["c"]}


@pytest.mark.parametrize(
    ("parts", "options", "train", "test"),
    [
        (ALL, {}, ("a",), ("c",)),
        (ALL, {"validation": "train"}, ("a", "b"), ("c",)),
        (ALL, {"test_split": "ignore"}, ("a",), ("b",)),
        (ALL, {"test_split": "ignore", "validation": "train"}, ("a", "b"), None),
        (ALL, {"test_split": "ignore", "validation": "ignore"}, ("a",), None),
        (ALL, {"named_test": ["d"]}, ("a",), ("d",)),
        ({"train": ["a"]}, {}, ("a",), None),
        ({"train": ["a"], "validation": ["b"]}, {}, ("a",), ("b",)),
        ({"train": ["a"], "validation": ["b"]}, {"named_test": ["d"]}, ("a",), ("d",)),
        ({"validation": ["b"]}, {"validation": "train"}, ("b",), None),
    ],
)
def test_each_split_has_one_role(parts, options, train, test):
    roles = assign(parts, **options)
    assert (roles.train, roles.test) == (train, test)
    left_out = set("abc") & {one for of in parts.values() for one in of} - {*train, *(test or ())}
    assert all(any(f"({one})" in fact for fact in roles.facts) for one in left_out)


@pytest.mark.parametrize("parts", [{"test": ["c"]}, {"validation": ["b"], "test": ["c"]}])
def test_nothing_to_train_on(parts):
    with pytest.raises(UsageError, match="here has nothing to train on"):
        assign(parts)
