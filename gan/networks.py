"""The two players: a convolutional generator and a convolutional discriminator, both conditioned on the class.

The generator (exercise 1 of the chapter) turns a latent noise vector into an image; the discriminator
(exercise 2) is a binary classifier, real against fake. Both follow DCGAN (Radford et al. 2016,
arXiv 1511.06434): strided convolutions, batch normalisation, ReLU / leaky ReLU, tanh output. The class enters
the generator as a learnt embedding beside the noise (Mirza & Osindero 2014, arXiv 1411.1784, section 3.2), and
the discriminator by projection (Miyato & Koyama 2018, arXiv 1802.05637, equation 3).
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from data.base.errors import UsageError
from gan.codes import ImageCodes, SamplePlaces
from gan.config import GanConfig

Layer = TypeVar("Layer", bound=nn.Module)

# Small beside the noise, N(0, 1). As large as the noise, the class decides the image from the start, the generator
# never learns to use its noise, and with 10 images per class every class collapses to one shape (benchmarks/TRIALS.md).
CLASS_EMBEDDING_STD = 0.1

POWER_ITERATIONS = 15  # to find a weight's largest singular value from a random start; PyTorch's own number


def check_image_shape(image_shape: tuple[int, int, int]) -> None:
    """Make sure that two halvings of the image's sides come out even.

    Raises:
        UsageError: height or width is not a positive multiple of 4, or there are neither 1 nor 3 channels.
    """
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise UsageError(f"the GAN makes images of 1 or 3 channels, not {channels}; convert them to grayscale or RGB")
    if height < 4 or width < 4 or height % 4 or width % 4:
        raise UsageError(
            f"the GAN needs images whose height and width are multiples of 4, not {height}x{width}; "
            "resize or pad them first"
        )


class ConditionalGenerator(nn.Module):
    """What generators of every architecture have in common: `forward` is a subclass's.

    Args:
        image_shape: (C, H, W) to generate; H and W are multiples of 4.
        labels: (N,) int64, of the images that have codes; None where none have.

    Raises:
        UsageError: an image shape that two doublings do not reach.
    """

    def __init__(
        self, config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int, labels: Tensor | None = None
    ) -> None:
        super().__init__()
        check_image_shape(image_shape)
        self.image_shape = image_shape
        self.latent_dim = config.latent_dim
        self.sample_reach, self.sample_spread = config.sample_reach, config.sample_spread
        self.codes: ImageCodes | None = None
        if labels is not None:
            self.codes = ImageCodes(labels, latent_dim=config.latent_dim)
        self.class_embedding = nn.Embedding(num_classes, config.latent_dim)

    def latent_of(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Map noise (B, latent_dim) from N(0, I) to latent vectors of samples, as many: itself without codes."""
        return noise if self.codes is None else self.codes.between(noise, labels, places=self.places)

    @property
    def places(self) -> SamplePlaces:
        """Where between two codes samples are made; with "auto" decided (`GanConfig.for_subset`)."""
        return SamplePlaces(reach=float(self.sample_reach), spread=float(self.sample_spread))


class Generator(ConditionalGenerator):
    """Latent noise and class to image: two stride-2 transposed convolutions above a linear projection."""

    def __init__(
        self, config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int, labels: Tensor | None = None
    ) -> None:
        super().__init__(config, image_shape=image_shape, num_classes=num_classes, labels=labels)
        channels, height, width = image_shape
        fine = config.generator_width
        coarse = 2 * fine
        self.coarse_shape = (height // 4, width // 4, coarse)
        self.project = nn.Linear(2 * config.latent_dim, coarse * (height // 4) * (width // 4), bias=False)
        self.norm1 = nn.BatchNorm2d(coarse)
        self.up1 = nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(fine)
        self.up2 = nn.ConvTranspose2d(fine, channels, 4, stride=2, padding=1)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Map latent (B, latent_dim) and labels (B,) int64 to images (B, C, H, W) in [-1, 1]."""
        conditioned = torch.cat([latent, self.class_embedding(labels)], dim=1)  # (B, 2 * latent_dim)
        features = self.project(conditioned).view(-1, *self.coarse_shape)  # (B, H/4, W/4, 2w)
        features = self.norm1(features.permute(0, 3, 1, 2)).relu()  # (B, 2w, H/4, W/4), channels last in memory
        features = self.norm2(self.up1(features)).relu()  # (B, w, H/2, W/2)
        return transposed_by_product(features, self.up2).tanh()  # (B, C, H, W)


def transposed_by_product(features: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Apply a transposed convolution of kernel 4, stride 2 and padding 1 as what it is by definition: a matrix product,
    which makes a 4x4 patch of every feature vector, and the sum of the patches where they overlap.

    Libraries have fast transposed convolutions to many channels; to an image's 1 or 3 this takes half of the time on a
    processor. Maps (B, w, H, W) to (B, C, 2H, 2W) float32.
    """
    height, width = features.shape[2:]
    patches = layer.weight.flatten(1).t() @ features.flatten(2)  # (B, C * 16, H * W)
    images = F.fold(patches.float(), (2 * height, 2 * width), kernel_size=4, stride=2, padding=1)
    assert layer.bias is not None
    return images + layer.bias[:, None, None]


class FoldedConv2d(nn.Conv2d):
    """A convolution of kernel 4, stride 2 and padding 1 from an image's few channels, of pixels folded into channels.

    The same function: each 2x2 pixels become one place with four times the channels, under a 3x3 kernel that has zeros
    where the 4x4 one does not reach. On a processor its gradient with respect to the images takes a third of the time.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, w, H/2, W/2)."""
        kernel = F.pixel_unshuffle(F.pad(self.weight, (1, 1, 1, 1)), 2)  # (w, 4 * C, 3, 3)
        pixels = F.pixel_unshuffle(images, 2)  # (B, 4 * C, H/2, W/2)
        as_they_lie = torch.channels_last
        return F.conv2d(
            pixels.contiguous(memory_format=as_they_lie),
            kernel.contiguous(memory_format=as_they_lie),
            self.bias,
            padding=1,
        )


class GeneratorEnsemble(nn.Module):
    """Snapshots of one training as one generator: each noise vector is shown by one of them, all alike often.

    What a GAN leaves out changes while it trains, so its snapshots together vary more than the last one
    (self-ensembles: Wang et al. 2016, arXiv 1612.00991).

    Args:
        members: at least one, all of one configuration.
    """

    def __init__(self, members: Sequence[ConditionalGenerator]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.image_shape = members[0].image_shape
        self.latent_dim = members[0].latent_dim

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Map noise (B, latent_dim) float32 from N(0, I) and labels (B,) int64 to images (B, C, H, W) in [-1, 1]."""
        chosen = self.members_of(noise)
        parts, rows = [], []
        for place, member in enumerate(self.members):
            assert isinstance(member, ConditionalGenerator)
            mine = (chosen == place).nonzero().squeeze(1)
            rows.append(mine)
            parts.append(member(member.latent_of(noise[mine], labels[mine]), labels[mine]))
        images: Tensor = torch.cat(parts)[torch.cat(rows).argsort()]
        return images

    def members_of(self, noise: Tensor) -> Tensor:
        """Return which member shows each noise vector, (B,) int64: by low digits of its first number, which are spread
        evenly and in no image to be seen, so that an image depends on nothing but its own noise and label."""
        return (noise[:, 0].double().abs() * 2**20).long() % 2**10 % len(self.members)


class Discriminator(nn.Module):
    """Image and class to the logit of being real: two stride-2 convolutions, flattened, plus projection."""

    def __init__(self, config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        check_image_shape(image_shape)
        channels, height, width = image_shape
        fine = config.discriminator_width
        coarse = 2 * fine
        num_features = coarse * (height // 4) * (width // 4)

        def layer(module: Layer) -> Layer:
            if config.discriminator_norm == "spectral":
                spectral_norm(module)  # in place
            return module

        batch_norm = config.discriminator_norm == "batch"
        self.features = nn.Sequential(
            layer(FoldedConv2d(channels, fine)),
            nn.LeakyReLU(0.2),
            layer(nn.Conv2d(fine, coarse, 4, stride=2, padding=1, bias=not batch_norm)),
            nn.BatchNorm2d(coarse) if batch_norm else nn.Identity(),
            nn.LeakyReLU(0.2),
        )
        self.linear = layer(nn.Linear(num_features, 1))
        self.class_projection = layer(nn.Embedding(num_classes, num_features))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] and labels (B,) int64 to logits (B,); sigmoid gives P(real)."""
        features = self.features(images).permute(0, 2, 3, 1).flatten(1)  # (B, F), as they lie in memory
        return projected_logits(features, labels, linear=self.linear, class_projection=self.class_projection)


def projected_logits(features: Tensor, labels: Tensor, *, linear: nn.Linear, class_projection: nn.Embedding) -> Tensor:
    """Map features (B, F) and labels (B,) int64 to logits (B,) by equation 3 of Miyato & Koyama 2018.

    One product for all classes, then each image's own: cheaper than gathering a row of F weights per image.
    """
    class_weights = linear.weight + class_projection.weight  # (K, F)
    per_class = F.linear(features, class_weights, linear.bias.expand(len(class_weights)))  # (B, K)
    return per_class.gather(1, labels[:, None]).squeeze(1)


def initialise_dcgan(network: nn.Module, *, config: GanConfig, rng: torch.Generator) -> None:
    """Draw the initial weights from `rng`, so that they depend on nothing else.

    `dcgan`: every weight of a convolution, linear layer or projection from N(0, 0.02), batch normalisation
    scales from N(1, 0.02), biases 0 (Radford et al. 2016, section 4). `default`: Kaiming-uniform weights as
    PyTorch's layers have them.
    """
    dcgan = config.initialisation == "dcgan"
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = _raw_weight(module)
            if dcgan:
                nn.init.normal_(weight, 0.0, 0.02, generator=rng)
            else:
                nn.init.kaiming_uniform_(weight, a=5**0.5, generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02 if dcgan else 0.0, generator=rng)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            spread = CLASS_EMBEDDING_STD if isinstance(network, ConditionalGenerator) else 0.02
            nn.init.normal_(_raw_weight(module), 0.0, spread, generator=rng)
        elif isinstance(module, ImageCodes):
            nn.init.normal_(module.vectors, 0.0, 1.0, generator=rng)
        if is_parametrized(module):
            _restart_power_iteration(module, rng=rng)


def _raw_weight(module: nn.Module) -> Tensor:
    """Return the tensor that is trained: `weight`, or what spectral normalisation makes `weight` from."""
    weight = module.parametrizations.weight.original if is_parametrized(module) else module.weight  # type: ignore[union-attr]
    assert isinstance(weight, Tensor)
    return weight


@torch.no_grad()
def _restart_power_iteration(module: nn.Module, *, rng: torch.Generator) -> None:
    """Draw the singular vectors of spectral normalisation from `rng`: PyTorch took them from the global generator."""
    (norm,) = module.parametrizations.weight  # type: ignore[union-attr, misc]
    for vector in norm.buffers():
        vector.copy_(F.normalize(torch.randn(vector.shape, generator=rng), dim=0))
    for _ in range(POWER_ITERATIONS):
        norm(_raw_weight(module))
