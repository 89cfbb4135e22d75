"""Which models there are, how they are called, and where their weights lie."""
