"""Pages for people: files of this folder, served as they are. They use nothing but the HTTP API."""
