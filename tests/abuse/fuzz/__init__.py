"""Made-up requests in large numbers: nothing is answered with an unexpected 5xx, hangs, or makes the server grow."""
