"""The fallback: whatever the CrossEncoder of sentence-transformers loads."""
