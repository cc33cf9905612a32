"""Verbs that work on campaigns: new, check, diff, resolve, render, plan, apply, explain, review."""
