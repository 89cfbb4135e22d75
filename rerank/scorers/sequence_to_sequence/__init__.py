"""Rerankers with an encoder and a decoder, such as monoT5: the score is the first word that the decoder would write."""
