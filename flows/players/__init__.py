"""The players of a campaign of training images: one each, or groups that are found, kept and opened."""
