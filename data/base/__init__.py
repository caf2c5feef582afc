"""What every room uses and none is about: files, errors, randomness, devices, memory, names, limits."""
