"""A rerank gateway: one server, many rerank models, every client."""

__version__ = "0.1.0"
