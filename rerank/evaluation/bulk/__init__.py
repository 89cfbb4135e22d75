"""Ranking of files of any length: read, asked and written piece by piece, in their order."""
