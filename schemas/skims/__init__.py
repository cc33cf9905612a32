"""Skim menus, the cut language, and the global tags that skims bring themselves."""
