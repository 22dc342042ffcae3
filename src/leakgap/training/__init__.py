"""Training: the loop, one job of the grid, the architectures."""
