"""Tests of code that the user names."""

import subprocess
import sys
from pathlib import Path

import pytest

from data.base.errors import UsageError
from data.base.plugins import Allowance, accept, allow, allowance, load_named, source_digest


def test_code_that_nobody_allowed_is_not_run(own_code):
    own_code("own_secret.py", "open('ran', 'w').close()\ndef make(): ...\n")
    with pytest.raises(UsageError, match="--allow own_secret:make"):
        load_named("own_secret:make", what="classifier")
    assert not Path("ran").exists()


def test_what_was_allowed_is_found_where_augment_was_started(own_code):
    own_code("own_one.py", "class Box:\n    make = 7\n")
    allow("own_one:Box.make")
    assert load_named("own_one:Box.make", what="classifier") == 7


def test_allowing_one_attribute_allows_no_other_one(own_code):
    own_code("own_two.py", "one = two = 1\n")
    allow("own_two:one")
    with pytest.raises(UsageError, match="--allow own_two:two"):
        load_named("own_two:two", what="classifier")


def test_processes_started_later_may_load_it_too(own_code):
    own_code("own_three.py", "value = 'three'\n")
    allow("own_three:value")
    code = "from data.base.plugins import load_named; print(load_named('own_three:value', what='test'))"
    root = Path(__file__).parents[3]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout == "three\n"


def test_a_worker_accepts_what_comes_with_its_job(own_code):
    own_code("elsewhere/own_four.py", "value = 4\n")
    accept(Allowance(references=("own_four:value",), directory=str(Path.cwd() / "elsewhere")))
    assert allowance() == Allowance(references=("own_four:value",), directory=str(Path.cwd() / "elsewhere"))
    assert load_named("own_four:value", what="test") == 4


@pytest.mark.parametrize("text", ["", "make", "a.b", ":make", "a:", "a b:c", "a,b:c", "../a:b", "a:b:c", "1a:b"])
def test_what_is_no_name_cannot_be_allowed(own_code, text):
    with pytest.raises(UsageError, match=r"package\.module:attribute"):
        allow(text)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "there is no module own_bad on Python's path and in "),
        ("import absent_library_x\n", "importing own_bad fails with ModuleNotFoundError: No module named 'absent_"),
        ("1 / 0\n", "importing own_bad fails with ZeroDivisionError: division by zero"),
        ("raise SystemExit('enough')\n", "importing own_bad fails with SystemExit: enough"),
        ("def make(:\n", "importing own_bad fails with SyntaxError: "),
        ("other = 1\n", r"the module own_bad \(.*own_bad.py\) has no make"),
    ],
)
def test_what_cannot_be_loaded_is_one_clear_line(own_code, source, message):
    if source is not None:
        own_code("own_bad.py", source)
    allow("own_bad:make")
    with pytest.raises(UsageError, match=message) as raised:
        load_named("own_bad:make", what="classifier")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("the classifier own_bad:make: ")


def test_the_digest_is_of_the_source_and_imports_nothing(own_code):
    own_code("own_five.py", "raise SystemExit\n")
    allow("own_five:make")
    before = source_digest("own_five:make")
    own_code("own_five.py", "raise SystemExit(1)\n")
    assert source_digest("own_five:make") != before


def test_the_digest_is_of_the_whole_package_and_of_no_other_one(own_code):
    own_code("own_package/__init__.py", "")
    own_code("own_package/parts/layers.py", "width = 1\n")
    own_code("own_package/network.py", "import os\n")
    own_code("unrelated.py", "a = 1\n")
    allow("own_package.network:make")
    before = source_digest("own_package.network:make")
    own_code("unrelated.py", "a = 2\n")
    assert source_digest("own_package.network:make") == before
    own_code("own_package/parts/layers.py", "width = 2\n")
    assert source_digest("own_package.network:make") != before


def test_the_digest_follows_imports_of_modules_beside_it(own_code):
    own_code("own_six.py", "def make():\n    from own_layers import layer\n")
    own_code("own_layers.py", "import own_six\nlayer = 1\n")
    allow("own_six:make")
    before = source_digest("own_six:make")
    own_code("own_layers.py", "import own_six\nlayer = 2\n")
    assert source_digest("own_six:make") != before


def test_the_digest_of_a_missing_module_is_one_clear_line(own_code):
    with pytest.raises(UsageError, match="there is no module own_absent"):
        source_digest("own_absent:make")


@pytest.mark.parametrize("reference", ["math:sqrt", "colorsys:hls_to_rgb", "pluggy:HookimplMarker"])
def test_installed_code_has_a_digest(reference):
    assert len(source_digest(reference)) == 64
