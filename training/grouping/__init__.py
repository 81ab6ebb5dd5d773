"""Players that are groups of training images: found by similarity, by class or at random."""
