"""The command `sublearn`."""
