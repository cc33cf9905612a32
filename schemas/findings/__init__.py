"""Findings: what is wrong, where, and what to write instead; and the codes that name each kind."""
