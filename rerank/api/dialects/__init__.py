"""One module a dialect: what its clients send, what they get back, how an error is said. No dialect knows another."""
