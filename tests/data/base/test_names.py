import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.base.errors import AugmentError
from data.base.names import (
    check_class_name,
    folder_names,
    markdown_text,
    natural_key,
    public_dataset_name,
    safe_file_name,
    unified_name,
)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "\u2028", "x" * 201])
def test_names_that_break_tables_are_refused(name):
    with pytest.raises(AugmentError, match="row 3"):
        check_class_name(name, where="x.parquet, row 3")


@pytest.mark.parametrize("name", ["../etc", "<b>cat</b>", "猫", "T-shirt/top"])
def test_other_names_are_kept(name):
    assert check_class_name(name, where="here") == name


@given(st.text(max_size=100))
def test_file_names_are_one_harmless_part(text):
    name = safe_file_name(text)
    assert 0 < len(name) <= 64
    assert "/" not in name
    assert not name.startswith(".")


@pytest.mark.parametrize("names", [("cat", "big dog"), ("女", "男"), ("a, b", "[c]"), ("naïve", "T+shirt (red)")])
def test_names_that_folders_can_have_are_kept(names):
    assert folder_names(names) == names


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/b",
        "a\\b",
        ".",
        "x.",
        ".hidden",
        "__pycache__",
        "-x",
        "CON",
        "a:b",
        "what?",
        " a",
        "é" * 150,
        "e\u0301",
    ],
)
def test_only_the_class_that_needs_it_is_renamed(name):
    plain, renamed = folder_names(("女", name))
    assert plain == "女"
    assert renamed.startswith("001-")
    assert "/" not in renamed


def test_of_names_that_differ_in_case_the_later_is_renamed():
    assert folder_names(("Cat", "cat")) == ("Cat", "001-cat")


def test_a_new_folder_name_is_never_a_classs_own():
    folders = folder_names(("a/b", "000-a-b"))
    assert folders[1] == "000-a-b"
    assert len({folder.casefold() for folder in folders}) == 2


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=20, unique=True))
def test_folders_are_distinct_in_any_file_system(names):
    folders = folder_names(tuple(names))
    assert len({unified_name(folder).casefold() for folder in folders}) == len(names)


def test_numbers_in_names_count_as_numbers():
    assert sorted(["10", "2", "1", "a10", "a9"], key=natural_key) == ["1", "2", "10", "a9", "a10"]


@pytest.mark.parametrize("name", ["normal ", "normal", " normal", "normal\u00a0"])
def test_spaces_make_no_other_class(name):
    assert unified_name(name) == "normal"


def test_composition_makes_no_other_class():
    assert unified_name("e\u0301tat") == unified_name("état")


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("mnist", "mnist"),
        ("folder:/home/me/ward 7/surname", "folder:surname"),
        ("folder:/home/me/x/", "folder:x"),
        ("/home/me/x", "x"),
        ("parquet:C:\\Users\\me\\x.parquet", "parquet:x.parquet"),
        ("folder:..", "folder:data"),
        ("npz:~/x.npz", "npz:x.npz"),
    ],
)
def test_of_a_path_only_the_last_part_is_published(name, public):
    assert public_dataset_name(name) == public


def test_markdown_shows_html_and_newlines_literally():
    assert markdown_text("a\n# <b>x</b>") == "a \\# &lt;b&gt;x&lt;/b&gt;"
