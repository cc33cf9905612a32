"""Approvals: who must agree before a campaign is launched, what they signed, and whether it is valid."""
