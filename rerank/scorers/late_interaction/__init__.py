"""Late-interaction models (ColBERT): every token has a vector, and the score is the sum of the best cosines."""
