"""Losses as pure functions of critic scores, penalties of critic and batch."""
