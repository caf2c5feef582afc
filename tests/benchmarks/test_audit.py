from benchmarks.audit import Searched, level_for, table


def test_level_lets_two_in_a_hundred_honest_searches_fail():
    assert level_for([0.5] * 98 + [0.002, 0.002]) == 0.1
    assert level_for([0.5] * 97 + [0.002] * 3) == 1e-3


def test_the_data_set_left_out_has_no_part_in_its_level():
    found = [
        Searched("a", "test", "", 1e-5),
        Searched("a", "test", "shifted", 1e-9),
        Searched("b", "test", "", 0.9),
        Searched("b", "test", "shifted", 0.05),
    ]
    assert table(found)[2:] == ["| a | 0.1 | 1 of 1 | 1 of 1 |", "| b | 0.0001 | 0 of 1 | 0 of 1 |"]
