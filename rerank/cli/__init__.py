"""Commands: arguments and environment to settings, settings to a running house."""
