"""Verbs for operators: reconcile, status, logs, pause, cancel, state, doctor."""
