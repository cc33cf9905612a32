"""A storage seen from outside: whether it is mounted, and its files by descriptors."""
