"""Evaluation of any name that a server can answer, on the user's own data. Most of it needs the extra ``evaluate``."""
