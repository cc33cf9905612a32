"""Sites in a turn: whether an engine answers, whether preconditions hold, and how many attempts a queue takes."""
