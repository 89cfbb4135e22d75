"""Readers of collections."""
