"""Which models are alive. One owner: the event loop's thread."""
