"""Cross-encoders of the BERT kind: XLM-RoBERTa and BERT, such as bge-reranker and ms-marco."""
