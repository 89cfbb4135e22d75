"""Cross-encoders of the BERT kind: BERT and relatives, such as ms-marco, bge-reranker and Ettin."""
