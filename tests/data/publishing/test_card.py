import pytest
import yaml

from data.base.errors import AugmentError, UsageError
from data.publishing.card import CardFacts, dataset_card
from data.publishing.croissant import croissant

HOSTILE = ("'", "../x", "<b>", "no", "1", '"\\', "猫😀", "a: b # c", "- x")


def facts(**changes):
    return CardFacts(
        **{
            "title": "Synthetic <script>alert(1)</script>\n# mine",
            "file_format": "parquet",
            "num_images": 1200,
            "num_real": 0,
            "num_bytes": 5,
            "image_shape": (1, 28, 28),
            "class_names": HOSTILE,
            "source": "parquet:/x\n---\n![x](http://evil)",
            "generator_digest": "0" * 64,
            "seed": 3,
            "extra_columns": (("index", "int64"),),
        }
        | changes
    )


def head_and_body(card):
    _, head, body = card.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_head_keeps_hostile_class_names_as_text():
    head, _ = head_and_body(dataset_card(facts()))
    label = head["dataset_info"]["features"][1]
    assert tuple(label["dtype"]["class_label"]["names"].values()) == HOSTILE


def test_the_head_names_files_columns_and_counts():
    head, _ = head_and_body(dataset_card(facts()))
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert head["dataset_info"]["features"][2] == {"name": "index", "dtype": "int64"}
    assert head["dataset_info"]["splits"] == [{"name": "train", "num_examples": 1200, "num_bytes": 5}]


def test_the_body_shows_names_from_outside_literally():
    _, body = head_and_body(dataset_card(facts()))
    assert "<script>" not in body
    assert "![x]" not in body
    assert "\n# mine" not in body
    assert "1,200 grayscale images of 28x28 pixels" in body


def test_folders_are_listed_in_the_order_in_which_they_are_read():
    head, _ = head_and_body(dataset_card(facts(file_format="imagefolder", class_names=("b", "a"))))
    names = head["dataset_info"]["features"][1]["dtype"]["class_label"]["names"]
    assert names == {"0": "a", "1": "b"}


def test_idx_files_are_nothing_that_datasets_could_load():
    head, _ = head_and_body(dataset_card(facts(file_format="idx")))
    assert "configs" not in head


def test_croissant_has_a_field_for_every_column():
    document = croissant(facts(), date_published="2026-01-01", version="1.0.0")
    assert [field["name"] for field in document["recordSet"][0]["field"]] == ["image", "label", "index"]


@pytest.mark.parametrize(("error", "code"), [(AugmentError, 1), (UsageError, 2)])
def test_exit_codes(error, code):
    assert error("x").exit_code == code


def test_card_says_what_samples_tell_about_the_training_images_or_that_nobody_looked():
    _, body = head_and_body(dataset_card(facts(privacy="samples give away who was in training: AUC 0.84")))
    assert "AUC 0.84" in body
    assert "was not measured" in dataset_card(facts())
