"""Groups of copies: proposals, tests, the search that joins both, and the sizes a campaign can detect."""
