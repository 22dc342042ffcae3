"""Heavy checks: `python -m benchmarks.<name>`. A package of its own, since opacus installs another of this name."""
