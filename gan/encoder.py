"""An encoder: with many training images, their codes are what a network makes of them, not vectors of their own.

Each image is seen too rarely then for a free vector (`gan.codes`) to become its code. The encoder is trained with the
generator, by the same costs: its code of an image must make that image again (VAE-GAN: Larsen et al. 2016, arXiv
1512.09300, without the prior), and what the generator makes between the codes of two images of a class must pass the
discriminator, as in ACAI (Berthelot et al. 2018, arXiv 1807.07543, section 3). Samples are made there, from the codes
of images that the trained encoder sees once more; the generator is averaged over the last steps, the encoder is not.

While it is trained, the two images are of one batch: of a class that is there alone, its own code and noise stand in.
With batches of 32 that is rare for 10 classes and usual for 100, where larger batches are worth their time.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from data.base.modes import as_in_prediction
from data.base.randomness import numpy_stream
from gan.codes import TINY
from gan.config import GanConfig
from gan.networks import FoldedConv2d

MOST_CODES = 10_000  # images whose codes a generator keeps
ENCODED_AT_ONCE = 1000


class Encoder(nn.Module):
    """Image to code: two stride-2 convolutions, flattened, and a linear layer; the discriminator's shape.

    Args:
        image_shape: (C, H, W); H and W are multiples of 4.
    """

    def __init__(self, config: GanConfig, *, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = image_shape
        fine = config.discriminator_width
        coarse = 2 * fine
        self.features = nn.Sequential(
            FoldedConv2d(channels, fine),
            nn.LeakyReLU(0.2),
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(coarse),
            nn.LeakyReLU(0.2),
        )
        self.linear = nn.Linear(coarse * (height // 4) * (width // 4), config.latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to codes (B, latent_dim) float32, as long as noise from N(0, I) is."""
        features = self.features(images).permute(0, 2, 3, 1).flatten(1)  # (B, F), as they lie in memory
        codes = self.linear(features).float()
        on_the_sphere: Tensor = codes * (codes.shape[1] ** 0.5 / codes.norm(dim=1, keepdim=True).clamp(min=TINY))
        return on_the_sphere


@torch.no_grad()
def codes_of(encoder: Encoder, images: Tensor) -> Tensor:
    """Encode images (N, C, H, W), each by itself: (N, latent_dim) float32."""
    with as_in_prediction(encoder):
        return torch.cat([encoder(part) for part in torch.split(images, ENCODED_AT_ONCE)])


def kept_rows(labels: npt.NDArray[np.int64], *, most: int, seed: int) -> npt.NDArray[np.int64]:
    """Choose the images whose codes a generator keeps: positions (K,), ascending, of each class its part of `most`.

    Each class has the same part, of one image at least; what small classes leave of it is not shared out.
    """
    present = np.unique(labels)
    rng, each = numpy_stream(seed, "gan codes"), max(1, most // max(1, len(present)))
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:each] for label in present]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
