"""Networks and nothing else: no data, no losses, no files."""
