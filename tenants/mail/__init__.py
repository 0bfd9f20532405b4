"""Mail to people: what is to be sent, and the words of it."""
