"""vLLM's dialect, which Jina's, Cohere's and many others' clients speak too."""
