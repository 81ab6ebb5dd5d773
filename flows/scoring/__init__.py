"""`coterie score`: judge attribution matrices of any method against what a campaign measured."""
