"""The fallback: any cross-encoder that sentence-transformers can load."""
