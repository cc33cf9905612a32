"""From what is declared and what is known to a plan."""
