"""The measurement: arms, classifiers, predictions, statistics, report, comparison. Knows `data` only."""
