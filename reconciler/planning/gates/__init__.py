"""Gates: what must hold before the units of a stage go. They are computed from evidence in each plan, and never stored."""
