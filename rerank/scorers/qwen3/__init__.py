"""Causal rerankers with a Qwen3 body: Qwen3-Reranker, and others whose prompt is in their card."""
