"""Does GAN augmentation help on my data, by how much, and can I trust the answer? The public face in Python.

    import augmentation_gain as ag

    report = ag.study(images, labels, replicates=8)
    print(report.sentence)
    ag.plot_gains(report)

Nothing here prints or starts a server unless it is asked to. A study runs in this process, one cell after the other;
`augment run` runs several at once. What is here is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augmentation_gain.frames import arms_frame, classes_frame, gains_frame, replicates_frame
    from augmentation_gain.generators import export, sample, train_gan
    from augmentation_gain.plots import plot_accuracies, plot_gains, plot_images
    from augmentation_gain.report import Report
    from augmentation_gain.studies import compare, judge, load_report, study

__all__ = [
    "Report",
    "arms_frame",
    "classes_frame",
    "compare",
    "export",
    "gains_frame",
    "judge",
    "load_report",
    "plot_accuracies",
    "plot_gains",
    "plot_images",
    "replicates_frame",
    "sample",
    "study",
    "train_gan",
]

_MODULES = {
    "frames": ("arms_frame", "classes_frame", "gains_frame", "replicates_frame"),
    "generators": ("export", "sample", "train_gan"),
    "plots": ("plot_accuracies", "plot_gains", "plot_images"),
    "report": ("Report",),
    "studies": ("compare", "judge", "load_report", "study"),
}

if not TYPE_CHECKING:

    def __getattr__(name):
        """Import what is asked for (PEP 562)."""
        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        """Return what there is, for completion in notebooks."""
        return sorted({*globals(), *__all__})
