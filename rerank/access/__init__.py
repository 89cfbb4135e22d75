"""Who may use the server, which models, and how much a minute."""
