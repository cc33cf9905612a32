"""Trials: some events of one run, in a scratch folder on this machine; nothing else is written."""
