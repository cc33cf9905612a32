"""Who may, and when, and what people see: the command line, approvals, reviews, reports, the demo."""
