"""Notes of editions: what the readers of a dataset have to know of it, against the edition that they read before."""
