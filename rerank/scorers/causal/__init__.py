"""Causal rerankers: language models that are asked whether a document fits a query."""
