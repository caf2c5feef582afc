"""Does GAN augmentation help on my data, by how much, and can I trust the answer? The public face in Python.

    import augmentation_gain as ag

    report = ag.study(images, labels, replicates=10)
    print(report.sentence)

Nothing here prints or starts a server. A study runs in this process, one cell after the other; `augment run` runs
several at once and shows its progress.
"""

from augmentation_gain.face import compare, load_report, study

__all__ = ["compare", "load_report", "study"]
