"""Campaigns inside the groups of a campaign: which groups are opened, the child campaign, decisions from the tree."""
