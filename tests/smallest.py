"""Settings of the smallest study that has everything, for what is tried from Python."""

SMALLEST = {
    "data.images_per_class": (4,),
    "gan.steps": 3,
    "gan.batch_size": 8,
    "gan.generator_width": 4,
    "gan.discriminator_width": 4,
    "sampling.images_per_class": 6,
    "evaluation.arms": ("real", "real+classical", "real+classical+synthetic"),
    "evaluation.policy": "digits",
    "evaluation.classifier_seeds": 1,
    "evaluation.classifier.steps": 4,
    "evaluation.classifier.width": 4,
    "evaluation.samples.max_images": 40,
    "evaluation.samples.unseen_images": 20,
    "evaluation.samples.features.steps": 4,
    "evaluation.samples.features.width": 4,
    "compute.device": "cpu",
}
