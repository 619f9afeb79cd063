"""Maps from particle images whose poses are known, and what a map is judged and shown with."""
