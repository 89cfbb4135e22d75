"""Which models are alive. One owner: a task fed by events."""
