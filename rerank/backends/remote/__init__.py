"""Backends of models behind another server's API."""
