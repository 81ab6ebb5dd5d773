"""Results of a whole campaign: tables of a block of targets, tests pooled over targets, learning curves."""
