"""Speed, side by side with peers, on checkpoints of full size with random weights."""

from rerank.openmp import shorten_spinning

# the package is imported before torch, as in `python -m benchmarks.families`
shorten_spinning()
