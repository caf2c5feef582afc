import pytest

from data.config import DataConfig
from data.sources.unused_columns import unused_columns

COLUMNS = {
    "patient_id": ["7", "7", "8"], "PatientID": [7, 7, 8], "Subject": ["a", "b", "a"], "lesion_id": ["x", "x", "x2"],
    "split": [None, "train", "test"], "is_valid": [False, True, True], "is_train": ["1", "0", "1"],
    "patient": [1, 2, 3], "slide": [4, 4, 4], "case": [["odd"], ["odd"], ["other"]], "is_male": [True, False, True],
    "fold": [0, 1, 2], "train": [1, 2, 3], "age": [50, 50, 60],
}  # fmt: skip


def noted(*names, **options):
    return unused_columns(names, DataConfig(**options), first_values=COLUMNS.__getitem__)


@pytest.mark.parametrize("name", ["patient_id", "PatientID", "Subject", "lesion_id", "case"])
def test_columns_of_what_images_belong_to(name):
    (note,) = noted("age", name)
    assert f"--set data.group_column={name} keeps them together" in note


@pytest.mark.parametrize("name", ["split", "is_valid", "is_train"])
def test_columns_of_splits(name):
    (note,) = noted("age", name)
    assert f"--set data.split_column={name} divides by it" in note


@pytest.mark.parametrize("name", ["patient", "slide", "is_male", "fold", "train", "age"])
def test_columns_that_divide_nothing(name):
    assert noted(name) == ()


def test_nothing_is_said_where_the_configuration_uses_a_column():
    assert noted("patient_id", "Subject", group_column="patient_id") == ()
    assert noted("split", "is_valid", split_column="is_valid") == ()
    assert noted("patient_id", label_column="patient_id") == ()
