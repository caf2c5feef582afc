"""A network that is pretrained on one data set, and fine-tuned by a study of another one (docs/your-classifier.md).

    python pretrained.py        # pretrains on scikit-learn's digits from number 300 on; writes pretrained.safetensors

The study then names the factory: `evaluation.classifier.kind = "pretrained:fine_tuned"`.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

SIDE = 16  # pixels that the body was pretrained on
FEATURES = 64


def make_body() -> nn.Sequential:
    """Return the part that is pretrained: (B, 1, 16, 16) in [-1, 1] to features (B, 64)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, FEATURES, 3, padding=1),
        nn.BatchNorm2d(FEATURES),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def preprocess(images: Tensor) -> Tensor:
    """Bring images (B, C, H, W) in [-1, 1] to what the body was pretrained on: gray, 16x16."""
    gray = images.mean(1, keepdim=True)
    return F.interpolate(gray, size=(SIDE, SIDE), mode="bilinear", antialias=True)


class FineTuned(nn.Module):
    """A pretrained body under a new head; a frozen body learns nothing, and its batch normalisation neither."""

    def __init__(self, body: nn.Module, *, classes: int, frozen: bool) -> None:
        super().__init__()
        self.body = body.requires_grad_(not frozen)
        self.head = nn.Linear(FEATURES, classes)
        self.frozen = frozen

    def train(self, mode: bool = True) -> "FineTuned":
        """Set the training mode, of a frozen body never."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) in [-1, 1] to logits (B, classes)."""
        logits: Tensor = self.head(self.body(preprocess(images)))
        return logits


def fine_tuned(
    channels: int,  # noqa: ARG001 (every factory is called with these three)
    classes: int,
    image_size: tuple[int, int],  # noqa: ARG001
    *,
    weights: str,
    frozen: bool = False,
) -> nn.Module:
    """The factory: load the pretrained body from `weights`, and put a new head on it."""
    body = make_body()
    body.load_state_dict(load_file(weights))
    return FineTuned(body, classes=classes, frozen=frozen)


def pretrain(file: Path, *, steps: int = 300) -> float:
    """Train the body on digits, write its weights to `file`, and return the last batch's accuracy."""
    torch.manual_seed(0)
    digits = load_digits()
    images = preprocess(torch.from_numpy(digits.images[300:]).float()[:, None] / 8 - 1)  # 0 to 16, to [-1, 1]
    labels = torch.from_numpy(digits.target[300:])
    body, head = make_body(), nn.Linear(FEATURES, 10)
    optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=3e-3)
    accuracy = 0.0
    for _ in range(steps):
        rows = torch.randint(len(labels), (64,))
        logits = head(body(images[rows]))
        optimizer.zero_grad()
        F.cross_entropy(logits, labels[rows]).backward()
        optimizer.step()
        accuracy = float((logits.argmax(1) == labels[rows]).float().mean())
    save_file(body.state_dict(), file)
    return accuracy


if __name__ == "__main__":
    reached = pretrain(Path("pretrained.safetensors"), steps=int((sys.argv[1:] or ["300"])[0]))
    print(f"pretrained.safetensors: {reached:.0%} of the last batch right")
