"""Parts of the documentation site that are written from the project itself when the site is built."""
