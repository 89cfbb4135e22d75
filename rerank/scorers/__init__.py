"""Model families: text to tokens, tokens to one raw logit a pair. No sigmoid, no top-n, no queue."""
