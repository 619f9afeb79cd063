"""Training of networks: one loop for all methods, what it keeps, and how it goes on after a kill."""
