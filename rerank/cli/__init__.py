"""The commands: arguments and environment to settings, and what is done with them."""
