"""State that several servers share, in Redis."""
