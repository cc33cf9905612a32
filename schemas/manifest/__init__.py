"""What a campaign declares, as frozen values: runs, steps, templates, variants, and the lock that pins them."""
