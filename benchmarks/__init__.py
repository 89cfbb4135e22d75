"""Speed, side by side with peers, on checkpoints of full size with random weights."""
