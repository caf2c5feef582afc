from benchmarks.privacy import REFERENCE, Traded, table


def row(recipe, draw, accuracy, **attacks):
    return Traded(recipe=recipe, draw=draw, per_class=10, accuracy=accuracy, **attacks)


def test_gains_are_taken_within_a_draw():
    attacks = {"auc": 0.8, "caught": 0.2, "file_auc": 1.0, "file_caught": 0.99}
    found = [
        row(REFERENCE, 1, 80.0),
        row(REFERENCE, 2, 90.0),
        row("as it ships", 1, 81.0, **attacks),
        row("as it ships", 2, 91.0, **attacks),
        row("as it ships", 3, 99.0, **attacks),
    ]
    told = next(line for line in table(found) if line.startswith("| as it ships"))
    assert (
        told
        == "| as it ships | 2 | 0.800 (0.800 to 0.800) | 20% | 1.000 (1.000 to 1.000) | 99% | +1.00 (+1.00 to +1.00) |"
    )
