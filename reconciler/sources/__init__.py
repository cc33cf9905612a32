"""Watched sources: the run database, lists, folders and the conditions database, asked by the reconciler itself."""
