"""Files of a repository: reading the tree, text and strict JSON."""
