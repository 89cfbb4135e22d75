"""Qwen3-Reranker, and causal rerankers with a Qwen3 body that ask in another prompt."""
