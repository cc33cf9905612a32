"""Edition notes and known issues as text, Markdown and JSON data."""
