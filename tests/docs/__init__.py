"""The documentation site, and the commands that documents tell people to run."""
