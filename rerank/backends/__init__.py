"""Things that can score, behind one protocol."""
