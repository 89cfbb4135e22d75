"""Cross-encoders of the BERT kind: bge-reranker, ms-marco and their relatives."""
