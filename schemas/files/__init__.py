"""Files of a repository: which there are, the text in them, and strict JSON."""
