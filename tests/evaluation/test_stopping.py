import itertools

import pytest

from evaluation.stopping import LEG_SHARE, intersection, look_at, looks


def leg(replicates, *, last=None, earlier=()):
    taken = list(earlier)
    for number in replicates:
        taken.append(look_at(number, earlier=taken, final=False))
    if last is not None:
        taken.append(look_at(last, earlier=taken, final=True))
    return taken


def test_shares_of_endless_looks_and_extensions_stay_below_one():
    taken = []
    for _ in range(6):
        begun = taken[-1].replicates if taken else 0
        schedule = list(itertools.islice(looks(after=begun), 8))
        taken = leg(schedule[:-1], last=schedule[-1], earlier=taken)
    assert 0.99 < sum(look.share for look in taken) < 1
    assert all(look.share > 0 for look in taken)


def test_a_study_of_fixed_size_spends_four_fifths():
    assert look_at(20, final=True).share == LEG_SHARE


def test_final_look_gets_what_interim_looks_left():
    taken = leg([4, 6, 9], last=11)
    assert sum(look.share for look in taken) == pytest.approx(LEG_SHARE)


def test_few_replicates_spend_little():
    assert look_at(4, final=False).share < 0.1 * LEG_SHARE


def test_share_does_not_depend_on_earlier_looks_only_the_rest_of_it_does():
    once, often = leg([40]), leg([4, 9, 20, 40])
    assert once[-1].share == pytest.approx(sum(look.share for look in often))


def test_an_extension_spends_four_fifths_of_what_is_left():
    first = look_at(5, final=True)
    assert look_at(20, earlier=[first], final=True).share == pytest.approx(LEG_SHARE * (1 - LEG_SHARE))


@pytest.mark.parametrize("replicates", [5, 4])
def test_a_look_without_new_replicates_is_refused(replicates):
    with pytest.raises(ValueError, match="cannot follow"):
        look_at(replicates, earlier=[look_at(5, final=False)], final=True)


def test_looks_grow_by_half():
    assert list(itertools.islice(looks(), 6)) == [4, 6, 9, 14, 21, 32]


def test_looks_take_in_whole_repeats_of_folds():
    assert list(itertools.islice(looks(multiple_of=5), 5)) == [5, 10, 15, 25, 40]


def test_looks_go_on_where_a_study_ended():
    assert next(looks(after=20)) == 30
    assert next(looks(after=2)) == 4


def test_what_was_decided_stays_decided():
    assert intersection([(0.1, 0.9), (-0.1, 0.5)]) == (0.1, 0.5)


def test_looks_that_contradict_each_other_leave_the_last():
    assert intersection([(0.5, 0.9), (-0.1, 0.2)]) == (-0.1, 0.2)
