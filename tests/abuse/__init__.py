"""Attacks on a running server, each bounded in memory and time."""
