"""Keys: allowed models and limits per minute."""
