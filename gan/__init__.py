"""The conditional GAN: networks, losses, training, checkpoints, sampling. Knows `data` only."""
