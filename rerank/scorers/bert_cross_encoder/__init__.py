"""Cross-encoders of the BERT kind: XLM-RoBERTa, BERT and relatives, such as bge-reranker and ms-marco."""
