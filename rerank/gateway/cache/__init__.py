"""Scores of pairs that were asked for before."""
