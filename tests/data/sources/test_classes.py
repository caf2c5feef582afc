import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.base.errors import AugmentError
from data.base.limits import LimitError
from data.sources.classes import Classes


def of(labels, names=None):
    return Classes.of(labels, names, where="here")


@pytest.mark.parametrize(
    ("labels", "names"),
    [([9, 5, 30, 5], ("5", "9", "30")), (["b10", "b9", "a"], ("a", "b9", "b10")), ([7, "x"], ("7", "x"))],
)
def test_labels_become_classes_in_natural_order(labels, names):
    assert of(labels).names == names


def test_given_names_keep_their_order():
    classes = of([1, 0, 1], ("zebra", "ant"))
    assert classes.names == ("zebra", "ant")
    assert classes.numbers([1, "zebra"], where="here").tolist() == [1, 0]


def test_names_without_an_image_are_dropped_and_the_others_renumbered():
    classes = of([2, 0], ("a", "b", "c"))
    assert classes.names == ("a", "c")
    assert classes.numbers([2, 0], where="here").tolist() == [1, 0]
    assert classes.facts == ("class names without a training image were dropped: 'b'",)


def test_spellings_of_one_name_are_one_class():
    classes = of(["normal", "normal ", "ill"])
    assert classes.names == ("ill", "normal")
    assert classes.numbers(["normal", "normal ", " normal"], where="here").tolist() == [1, 1, 1]
    assert "'normal' and 'normal ' are one class, 'normal'" in classes.facts[0]


@given(st.lists(st.one_of(st.integers(0, 50), st.text("abé 0", min_size=1, max_size=4).filter(str.strip)), min_size=1))
def test_every_label_has_a_class_and_every_class_a_label(labels):
    classes = of(labels)
    assert set(classes.numbers(labels, where="here")) == set(range(len(classes.names)))


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [([0], ("a", "a"), "two classes have the same name"), (["a\nb"], None, "control character")],
)
def test_names_that_cannot_be(labels, names, message):
    with pytest.raises(AugmentError, match=f"here: .*{message}"):
        of(labels, names)


def test_numbers_and_texts_of_one_spelling_are_one_class_without_a_word():
    classes = Classes.of([0, "0", 1], None, where="here")
    assert (classes.names, classes.facts) == (("0", "1"), ())


def test_a_label_of_the_test_split_alone():
    with pytest.raises(AugmentError, match="here: class 'emu' of the test split"):
        of([0, 1], ("cat", "dog", "emu")).numbers([0, 2], where="here")


def test_too_many_classes():
    of(list(range(1000)))
    with pytest.raises(LimitError, match=r"number of distinct labels is 1,001.*are these the labels"):
        of(list(range(1001)))
