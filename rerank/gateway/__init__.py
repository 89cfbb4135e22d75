"""Policy: which model answers, who gets in, what a logit means to a caller."""
