"""Embedding models as rerankers."""
