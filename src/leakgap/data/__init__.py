"""Datasets, the pool of images that masks are drawn from, and the masks."""
