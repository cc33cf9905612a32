"""Verbs of approval: approve, approvals, trust."""
