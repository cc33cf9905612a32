"""Sites and their engines: whether they answer, and how much they take."""
