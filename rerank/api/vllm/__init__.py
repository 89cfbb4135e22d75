"""vLLM's dialect."""
