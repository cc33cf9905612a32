"""The verbs that give editions to readers, and take them back."""
