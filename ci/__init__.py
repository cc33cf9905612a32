"""Who may, and when: the command line, the reports, the demo."""
