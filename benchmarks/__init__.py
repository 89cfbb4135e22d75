"""Speed, side by side with peers, on checkpoints of full size with random weights."""

# before torch, as in the server: it says how long OpenMP's threads wait for work
import rerank.devices  # noqa: F401
