"""Skim menus, the cut language, and the global tags that skims of basf2 add to those of the campaign."""
