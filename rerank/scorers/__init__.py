"""Model families: text to tokens, tokens to one raw logit per pair. No sigmoid, no top-n, no queue."""
