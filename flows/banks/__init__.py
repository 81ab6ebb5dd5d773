"""Recorded banks: masks and outputs that exist already, in files of somebody else's, made into a campaign."""
