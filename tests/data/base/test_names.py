import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.base.errors import AugmentError
from data.base.names import check_class_name, folder_names, markdown_text, safe_file_name


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


def test_plain_class_names_are_their_folders():
    assert folder_names(("cat", "big dog")) == ("cat", "big dog")


@pytest.mark.parametrize("names", [("../x", "y"), ("Cat", "cat"), ("a/b", "c"), (".", "b"), ("x.", "b")])
def test_hostile_class_names_get_numbered_folders(names):
    folders = folder_names(names)
    assert [folder[:4] for folder in folders] == ["000-", "001-"]
    assert all("/" not in folder for folder in folders)


def test_markdown_shows_html_and_newlines_literally():
    assert markdown_text("a\n# <b>x</b>") == "a \\# &lt;b&gt;x&lt;/b&gt;"
