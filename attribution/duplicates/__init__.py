"""Groups of copies: whether they can be seen, are proposed, and pass a test."""
