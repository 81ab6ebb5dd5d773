"""What a decision is made from, how planted truth scores it, and how it leaves the campaign."""
