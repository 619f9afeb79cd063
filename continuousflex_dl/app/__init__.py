"""The web viewer: a server on this computer's loopback and the page that it serves. Started by ``cflex view``."""
