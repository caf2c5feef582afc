import pytest
from pydantic import BaseModel

from benchmarks.pieces import read_lines, worked_through


class Square(BaseModel):
    value: int


def square(number):
    return Square(value=number * number)


def refuse(number):
    raise RuntimeError(number)


@pytest.mark.slow
def test_a_line_is_left_for_each_piece_and_none_is_done_twice(tmp_path):
    lines = tmp_path / "new" / "lines.jsonl"
    pieces = {"two": 2, "three": 3}
    first = worked_through(pieces, square, found=Square, lines=lines, workers=2)
    assert first == {"two": Square(value=4), "three": Square(value=9)}
    assert worked_through(pieces, refuse, found=Square, lines=lines, workers=1) == first
    assert read_lines(lines, found=Square) == first


@pytest.mark.slow
def test_a_line_that_was_cut_off_is_done_again(tmp_path):
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"piece": "two", "found": {"value": 4}}\n{"piece": "three", "fou')
    assert set(read_lines(lines, found=Square)) == {"two"}
    done = worked_through({"two": 2, "three": 3}, square, found=Square, lines=lines, workers=1)
    assert done["three"] == Square(value=9)
    assert set(read_lines(lines, found=Square)) == {"two", "three"}
