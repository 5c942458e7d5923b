"""Recordings as files: what is in them, and stretches of their signal in µV. A form of file is a file here."""
